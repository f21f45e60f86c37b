//! Booking text.
