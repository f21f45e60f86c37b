//! Memory for what is derived from a microphone: wiped when it is given back.

use std::{
    ops::{Deref, DerefMut},
    ptr,
    sync::atomic::{Ordering, compiler_fence},
};

/// A fixed number of values that are overwritten with their default, for numbers zero, when they are
/// dropped. It never grows: growing would leave a copy behind.
#[derive(Debug)]
pub(crate) struct Scratch<T: Copy + Default>(Box<[T]>);

impl<T: Copy + Default> Scratch<T> {
    /// `length` values, all default.
    pub(crate) fn new(length: usize) -> Self {
        Self(vec![T::default(); length].into_boxed_slice())
    }
}

impl<T: Copy + Default> Deref for Scratch<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: Copy + Default> DerefMut for Scratch<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

impl<T: Copy + Default> Drop for Scratch<T> {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

/// Overwrites in a way that the compiler may not leave out, although nobody reads it again.
#[expect(unsafe_code, reason = "a volatile write has no safe form in the standard library")]
pub(crate) fn wipe<T: Copy + Default>(values: &mut [T]) {
    for value in values.iter_mut() {
        // SAFETY: the place comes from an exclusive reference, and nothing of type `T` needs to be dropped.
        unsafe { ptr::write_volatile(value, T::default()) };
    }
    compiler_fence(Ordering::SeqCst);
}

#[cfg(test)]
mod tests {
    use rustfft::num_complex::Complex64;

    use super::*;

    #[test]
    fn what_is_wiped_is_zero() {
        let mut samples = [7_i16; 5];
        wipe(&mut samples);
        assert_eq!(samples, [0; 5]);
        let mut bins = [Complex64::new(1.0, -1.0); 3];
        wipe(&mut bins);
        assert!(bins.iter().all(|bin| bin.norm_sqr() < f64::MIN_POSITIVE));
    }

    /// A value that counts how often a default one was made: once for the first, once for each wiped.
    #[derive(Clone, Copy)]
    struct Counted;

    thread_local! {
        static MADE: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
    }

    impl Default for Counted {
        fn default() -> Self {
            MADE.set(MADE.get() + 1);
            Self
        }
    }

    #[test]
    fn every_value_is_wiped_when_it_is_dropped() {
        drop(Scratch::<Counted>::new(10));
        assert_eq!(MADE.get(), 11);
    }
}
