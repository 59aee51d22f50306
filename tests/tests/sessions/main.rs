//! A hostile caller in an executor's session: whatever it leaves there, the next caller finds none of it. And calls while what they call
//! is deployed anew.

mod hostile;
mod plans;
mod redeployed;
mod soak;
