//! What goes wrong around the extension: disks, slots, the control database, standbys, ends, faults of its own, odd names and encodings.

mod control;
mod disk;
mod ending;
mod names;
mod panicking;
mod slots;
mod standby;
mod uprooted;
