//! The compiled pipeline on the fake switch, by topic, and against the reference.

mod counted;
mod denied;
mod difference;
mod gate;
mod intercepted;
mod lifecycle;
mod neighbours;
mod random;
mod refused;
mod world;
