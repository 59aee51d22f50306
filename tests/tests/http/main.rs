//! The HTTP side: the shape of every error, who is let in, the protocol itself, and what no client should send.

mod abuse;
mod access;
mod protocol;
mod shape;
