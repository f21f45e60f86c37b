//! Our own test signal: what is sent, and how it is recognised when it comes back. Nothing here
//! reads a clock or keeps a sample.

pub mod finder;
pub mod picture;
pub mod sound;
pub(crate) mod speech;
