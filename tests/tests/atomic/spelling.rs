//! Another spelling of the same is nothing to do.
