//! The doors: which addresses are let in, which tokens, what browsers may, how often, and what is written down of who is refused.

mod addresses;
mod browsers;
mod direct;
mod line;
mod listeners;
mod rates;
mod refusals;
mod tokens;
mod uploads;
