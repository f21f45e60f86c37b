//! Interceptors that only look: everything passes them, in order.

use std::{collections::VecDeque, time::Instant};

use rtc::{
    interceptor::{Interceptor, StreamInfo, TaggedPacket},
    sansio::Protocol,
    shared::error::Error,
};

/// What looks at all that passes.
pub(super) trait Look: Send + Sync {
    /// A packet that came; it may be annotated.
    fn incoming(&mut self, _packet: &mut TaggedPacket) {}
    /// A packet that is to leave.
    fn outgoing(&mut self, _packet: &TaggedPacket) {}
    /// A stream of the other side whose first packet comes next.
    fn begins(&mut self, _stream: &StreamInfo) {}
}

/// The interceptor of one that looks.
pub(super) struct Passing<L> {
    look: L,
    reads: VecDeque<TaggedPacket>,
    writes: VecDeque<TaggedPacket>,
}

impl<L: Look> Passing<L> {
    pub(super) fn new(look: L) -> Self {
        Self { look, reads: VecDeque::new(), writes: VecDeque::new() }
    }
}

impl<L: Look> Protocol<TaggedPacket, TaggedPacket, ()> for Passing<L> {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, mut packet: TaggedPacket) -> Result<(), Error> {
        self.look.incoming(&mut packet);
        self.reads.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.reads.pop_front()
    }

    fn handle_write(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        self.look.outgoing(&packet);
        self.writes.push_back(packet);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.writes.pop_front()
    }
}

impl<L: Look> Interceptor for Passing<L> {
    fn bind_local_stream(&mut self, _: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _: &StreamInfo) {}

    fn bind_remote_stream(&mut self, stream: &StreamInfo) {
        self.look.begins(stream);
    }

    fn unbind_remote_stream(&mut self, _: &StreamInfo) {}
}
