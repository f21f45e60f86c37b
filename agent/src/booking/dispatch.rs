//! Booking dispatch.
