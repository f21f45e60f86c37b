//! A call with another sound than the test signal, and another ear than that for its markers.

use bytes::Bytes;

use crate::media::{capture::Nanos, codec::SOUND_FRAME};

/// What is said, and who listens.
pub(crate) struct Own {
    pub(crate) voice: Box<dyn Voice>,
    pub(crate) ear: Box<dyn Hear>,
}

/// A sound that is made block by block.
pub(crate) trait Voice: Send {
    /// Fills `out` with block `index` of 20 ms, full scale ±1.
    fn block(&mut self, index: u64, out: &mut [f32; SOUND_FRAME]);

    /// The marker that begins with block `index`: its number and direction.
    fn marker_at(&self, index: u64) -> Option<(u64, bool)> {
        let _ = index;
        None
    }
}

/// A packet of the sound that comes back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeardPacket<'a> {
    /// Its source.
    pub(crate) ssrc: u32,
    pub(crate) sequence: u16,
    pub(crate) rtp_time: u32,
    pub(crate) payload: &'a Bytes,
    /// Its arrival.
    pub(crate) at: Nanos,
}

/// Takes what comes back, in the order in which it comes, and keeps of it what it wants.
pub(crate) trait Hear: Send {
    /// Takes the next packet.
    fn take(&mut self, packet: &HeardPacket<'_>);

    /// Nothing more comes.
    fn finish(&mut self);
}
