//! One channel of 16 bit and what devices take and give instead: pure.

/// How a device's frames are made up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Samples of a frame.
    pub(super) channels: usize,
    /// Whether a sample has 32 bit, instead of 16.
    pub(super) is_wide: bool,
}

impl Layout {
    /// Bytes of a frame.
    pub(super) fn bytes(self) -> usize {
        self.channels * if self.is_wide { 4 } else { 2 }
    }

    /// Whether its bytes are those of one channel of 16 bit.
    pub(super) fn is_plain(self) -> bool {
        self == Self { channels: 1, is_wide: false }
    }

    /// Frames with the same on all channels.
    pub(super) fn spread(self, samples: &[i16], bytes: &mut Vec<u8>) {
        for &sample in samples {
            for _ in 0..self.channels {
                if self.is_wide {
                    bytes.extend_from_slice(&(i32::from(sample) << 16).to_ne_bytes());
                } else {
                    bytes.extend_from_slice(&sample.to_ne_bytes());
                }
            }
        }
    }

    /// The mean of each frame's channels, as bytes of samples of 16 bit; as many as fit into both.
    pub(super) fn mix(self, frames: &[u8], samples: &mut [u8]) {
        let (channels, unit) = (self.channels as i64, if self.is_wide { 1 << 16 } else { 1 });
        for (frame, sample) in frames.chunks_exact(self.bytes()).zip(samples.chunks_exact_mut(2)) {
            let sum: i64 = if self.is_wide {
                frame.as_chunks::<4>().0.iter().map(|bytes| i64::from(i32::from_ne_bytes(*bytes))).sum()
            } else {
                frame.as_chunks::<2>().0.iter().map(|bytes| i64::from(i16::from_ne_bytes(*bytes))).sum()
            };
            // Rounded to the nearest; a sum of loudest samples rounds up to one too many.
            let whole = channels * unit;
            let mean = (sum + whole / 2).div_euclid(whole).clamp(i64::from(i16::MIN), i64::from(i16::MAX));
            sample.copy_from_slice(&(mean as i16).to_ne_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLES: [i16; 5] = [0, 1, -1, i16::MAX, i16::MIN];

    #[test]
    fn what_is_spread_over_channels_is_the_same_when_mixed() {
        for channels in [1, 2, 3, 8] {
            for is_wide in [false, true] {
                let layout = Layout { channels, is_wide };
                let mut frames = Vec::new();
                layout.spread(&SAMPLES, &mut frames);
                assert_eq!(frames.len(), 5 * layout.bytes());
                let mut mixed = [0u8; 10];
                layout.mix(&frames, &mut mixed);
                assert_eq!(mixed, *SAMPLES.map(i16::to_ne_bytes).as_flattened(), "{layout:?}");
            }
        }
    }

    #[test]
    fn a_mix_is_the_mean_and_not_a_sum_or_a_channel() {
        let layout = Layout { channels: 2, is_wide: false };
        let frames = [1000i16, -3000, i16::MIN, i16::MIN].map(i16::to_ne_bytes);
        let mut mixed = [0u8; 4];
        layout.mix(frames.as_flattened(), &mut mixed);
        assert_eq!(mixed, *[-1000i16, i16::MIN].map(i16::to_ne_bytes).as_flattened());
    }

    #[test]
    fn wide_samples_are_rounded_and_do_not_wrap() {
        let layout = Layout { channels: 1, is_wide: true };
        let frames = [i32::MAX, (7 << 16) + 0x8000, (7 << 16) + 0x7fff, i32::MIN].map(i32::to_ne_bytes);
        let mut mixed = [0u8; 8];
        layout.mix(frames.as_flattened(), &mut mixed);
        assert_eq!(mixed, *[i16::MAX, 8, 7, i16::MIN].map(i16::to_ne_bytes).as_flattened());
    }

    #[test]
    fn no_more_is_mixed_than_there_is() {
        let layout = Layout { channels: 2, is_wide: false };
        let mut mixed = [9u8; 6];
        layout.mix(&[0; 7], &mut mixed);
        assert_eq!(mixed, [0, 0, 9, 9, 9, 9]);
    }
}
