//! Transcripts of whole stacks on a simulated link.

mod closing;
mod configured;
mod datagrams;
mod intercepting;
mod loss;
mod malformed;
mod opening;
mod overload;
mod transfer;
mod windows;
