//! Deploying one database: the order of objects, what PostgreSQL can read and regular expressions cannot, failures that leave no
//! trace, hostile archives, extensions.

mod archives;
mod constructs;
mod extensions;
mod failures;
mod made_by_migrations;
mod order;
