//! Calls: values in both directions, the ways to pass arguments and give results, errors, and that nothing of one call reaches the next.

mod arguments;
mod errors;
mod isolation;
mod values;
