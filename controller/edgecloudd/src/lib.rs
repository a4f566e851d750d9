//! The daemon in dom0: it enforces in the switch what verified tokens permit, and nothing else.
