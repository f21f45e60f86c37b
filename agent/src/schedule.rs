//! When a probe is due.
