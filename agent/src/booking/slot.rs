//! Booking slot.
