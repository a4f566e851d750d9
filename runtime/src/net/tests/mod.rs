//! Transcripts of whole stacks on a simulated link.

mod transfer;
