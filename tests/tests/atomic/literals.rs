//! A change inside a literal, however small, is deployed.
