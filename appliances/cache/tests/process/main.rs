//! The cache as an ordinary process, between clients and an origin that does what the test says.

mod hostile;
mod large;
mod publishers;
mod serving;
mod tls;
mod world;
