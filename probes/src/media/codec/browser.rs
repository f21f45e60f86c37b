//! The sound encoder of a browser: libopus in voice mode, with in-band repair. For tests.

use std::ptr::{self, NonNull};

use unsafe_libopus::{
    OPUS_APPLICATION_VOIP, OPUS_SET_BITRATE_REQUEST, OPUS_SET_INBAND_FEC_REQUEST, OpusEncoder, opus_encode_float,
    opus_encoder_create, opus_encoder_ctl, opus_encoder_destroy,
};

use super::{MOST_BYTES, SAMPLE_RATE, SOUND_FRAME};

/// Encodes mono sound as a browser does.
pub(crate) struct BrowserEncoder(NonNull<OpusEncoder>);

#[expect(unsafe_code, reason = "the encoder is known by its address alone")]
// SAFETY: the encoder belongs to this value alone, whichever thread has it.
unsafe impl Send for BrowserEncoder {}

#[expect(unsafe_code, reason = "the translation keeps the C interface")]
impl BrowserEncoder {
    /// An encoder of `bits_per_second`.
    pub(crate) fn new(bits_per_second: i32) -> Self {
        // SAFETY: no error is asked for, and the result is checked.
        let encoder = unsafe { opus_encoder_create(SAMPLE_RATE as i32, 1, OPUS_APPLICATION_VOIP, ptr::null_mut()) };
        let encoder = NonNull::new(encoder).expect("mono at 48 kHz is what every Opus encodes");
        for (request, value) in [(OPUS_SET_BITRATE_REQUEST, bits_per_second), (OPUS_SET_INBAND_FEC_REQUEST, 1)] {
            // SAFETY: the encoder is valid, and each request takes one integer.
            assert_eq!(unsafe { opus_encoder_ctl!(encoder.as_ptr(), request, value) }, 0);
        }
        Self(encoder)
    }

    /// Encodes one frame.
    pub(crate) fn encode(&mut self, samples: &[f32; SOUND_FRAME]) -> Vec<u8> {
        let mut packet = vec![0; MOST_BYTES];
        let (frame, most) = (SOUND_FRAME as i32, MOST_BYTES as i32);
        // SAFETY: the encoder is valid, and both buffers are as long as said.
        let length = unsafe { opus_encode_float(self.0.as_ptr(), samples.as_ptr(), frame, packet.as_mut_ptr(), most) };
        packet.truncate(usize::try_from(length).expect("a frame of 20 ms is encoded"));
        packet
    }
}

#[expect(unsafe_code, reason = "the translation keeps the C interface")]
impl Drop for BrowserEncoder {
    fn drop(&mut self) {
        // SAFETY: it was created by the function that this undoes, and is not used again.
        unsafe { opus_encoder_destroy(self.0.as_ptr()) };
    }
}
