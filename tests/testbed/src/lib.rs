//! The Xen machine that tests run on.
