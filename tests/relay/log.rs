//! What was done to each packet, for the judge to read.

use std::io::{self, Write};

use crate::plan::{Nanos, Stream, Way};

/// What became of one RTP packet that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Sent,
    /// Sent a second time.
    Copy,
    Lost,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Copy => "copy",
            Self::Lost => "lost",
        }
    }
}

/// One line of the log. Times are of the wall clock, in nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) stream: Stream,
    pub(crate) ssrc: u32,
    pub(crate) sequence: u16,
    pub(crate) bytes: usize,
    /// Kernel stamp.
    pub(crate) arrived: Nanos,
    /// Right before the system call that sent it; `due` if it was lost.
    pub(crate) released: Nanos,
    /// When it was to leave.
    pub(crate) due: Nanos,
    pub(crate) outcome: Outcome,
}

/// What one way had to do.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) way: Way,
    pub(crate) entries: Vec<Entry>,
    /// Datagrams that were no RTP.
    pub(crate) others: u64,
    /// Datagrams that the kernel dropped at our socket, or would not send: of these the log knows nothing.
    pub(crate) unlogged: u64,
}

/// Writes it all: comments begin with `#`, the rest is CSV with a heading.
pub(crate) fn write(to: &mut impl Write, done: &[Done]) -> io::Result<()> {
    for Done { way, others, unlogged, .. } in done {
        writeln!(to, "# {} others={others} unlogged={unlogged}", way.name())?;
    }
    writeln!(to, "way,stream,ssrc,sequence,bytes,arrived,due,released,outcome")?;
    for Done { way, entries, .. } in done {
        for entry in entries {
            let Entry { stream, ssrc, sequence, bytes, arrived, released, due, outcome } = entry;
            let (way, stream, outcome) = (way.name(), stream.name(), outcome.name());
            writeln!(to, "{way},{stream},{ssrc},{sequence},{bytes},{arrived},{due},{released},{outcome}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_judge_reads_what_was_done() {
        let entry = Entry {
            stream: Stream::Video,
            ssrc: 7,
            sequence: 65_535,
            bytes: 1200,
            arrived: 10,
            released: 35,
            due: 30,
            outcome: Outcome::Copy,
        };
        let mut text = Vec::new();
        write(&mut text, &[Done { way: Way::Down, entries: vec![entry], others: 4, unlogged: 0 }]).expect("memory");
        assert_eq!(
            String::from_utf8(text).expect("text"),
            "# down others=4 unlogged=0\nway,stream,ssrc,sequence,bytes,arrived,due,released,outcome\n\
             down,video,7,65535,1200,10,30,35,copy\n"
        );
    }
}
