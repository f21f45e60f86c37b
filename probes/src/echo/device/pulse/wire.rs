//! The protocol's messages on their socket: framing and bounds. Sound goes from the socket straight into
//! memory that the caller lends; it never lies anywhere else in this process.

use std::{fmt, io::Cursor, time::Duration};

use pulseaudio::protocol::{
    Command, CommandTag, DESCRIPTOR_SIZE, Descriptor, DescriptorFlags, MAX_MEMBLOCKQ_LENGTH, MAX_VERSION, PulseError,
    TagStructRead, TagStructReader, encode_command_message, encode_descriptor, read_descriptor,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    time::timeout,
};

use crate::{Failure, Reason};

/// The largest message of commands that is taken. A list of devices has some kB each.
const MOST_COMMAND: usize = 1 << 20;
/// How long the server may take to take a message.
const TAKES: Duration = Duration::from_secs(2);
/// The channel number of commands.
const COMMANDS: u32 = u32::MAX;
/// Bytes before the content of a reply: its command and its number, each with a tag.
const REPLY: usize = 10;

/// What the server has said.
#[derive(Debug, PartialEq)]
pub(super) enum Message {
    /// Sound of a recorder: to be taken by [`Wire::sound`] before anything else.
    Sound(u32),
    /// The answer to the request of this number: [`Wire::reply`] reads it.
    Reply(u32),
    /// The request of this number was refused.
    Refused(u32, PulseError),
    /// A player may be given so many bytes more.
    Wanted(u32, usize),
    /// A player ran dry, or was given too much.
    Slip,
    /// A player, or what it played on, is gone or another.
    PlayerGone,
    /// The same of the recorder of this channel.
    RecorderGone(u32),
}

/// A connection to a server.
#[derive(Debug)]
pub(super) struct Wire {
    stream: UnixStream,
    /// Of the protocol.
    pub(super) version: u16,
    /// Why a run fails that loses the connection.
    pub(super) lost: Reason,
    number: u32,
    header: [u8; DESCRIPTOR_SIZE],
    /// Of the header, so far.
    read: usize,
    command: Vec<u8>,
    /// Of the command, so far.
    command_read: usize,
    /// Sound that is still to be taken.
    channel: u32,
    left: usize,
}

impl Wire {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            version: MAX_VERSION,
            lost: Reason::NoServer,
            number: 0,
            header: [0; DESCRIPTOR_SIZE],
            read: 0,
            command: Vec::new(),
            command_read: 0,
            channel: 0,
            left: 0,
        }
    }

    /// Sends requests at once; gives the number of the first, the others follow it.
    pub(super) async fn send(&mut self, commands: &[Command]) -> Result<u32, Failure> {
        let first = self.number;
        let mut bytes = Vec::new();
        for command in commands {
            let mut message = Vec::new();
            encode_command_message(&mut message, self.number, command, self.version)
                .map_err(|error| self.nonsense(error))?;
            self.number = self.number.wrapping_add(1);
            bytes.append(&mut message);
        }
        self.write(&bytes).await?;
        Ok(first)
    }

    /// Sends sound to a player.
    pub(super) async fn play(&mut self, channel: u32, sound: &[u8]) -> Result<(), Failure> {
        let length = u32::try_from(sound.len()).unwrap_or(u32::MAX);
        let mut header = [0; DESCRIPTOR_SIZE];
        encode_descriptor(&mut header, &Descriptor { length, channel, offset: 0, flags: DescriptorFlags::empty() });
        self.write(&header).await?;
        self.write(sound).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        match timeout(TAKES, self.stream.write_all(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.gone(error)),
            Err(_) => Err(Failure::new(Reason::Stalled, "the sound server took nothing for 2 s")),
        }
    }

    /// The next that the server says. Nothing is lost if this is dropped before it is ready.
    pub(super) async fn next(&mut self) -> Result<Message, Failure> {
        loop {
            if self.left > 0 {
                return Ok(Message::Sound(self.channel));
            }
            while self.read < DESCRIPTOR_SIZE {
                let count = self.stream.read(&mut self.header[self.read..]).await;
                self.read += self.some(count)?;
            }
            let header = read_descriptor(&mut Cursor::new(&self.header)).map_err(|error| self.nonsense(error))?;
            let length = header.length as usize;
            if header.channel != COMMANDS {
                if length > MAX_MEMBLOCKQ_LENGTH || !length.is_multiple_of(2) {
                    return Err(self.nonsense(format_args!("{length} bytes of sound at once")));
                }
                (self.channel, self.left, self.read) = (header.channel, length, 0);
                continue;
            }
            if length > MOST_COMMAND {
                return Err(self.nonsense(format_args!("a message of {length} bytes")));
            }
            self.command.resize(length, 0);
            while self.command_read < length {
                let count = self.stream.read(&mut self.command[self.command_read..]).await;
                self.command_read += self.some(count)?;
            }
            (self.read, self.command_read) = (0, 0);
            if let Some(message) = self.understand()? {
                return Ok(message);
            }
        }
    }

    /// Takes sound into `place`, as much as there is and fits; gives how many bytes, and whether the
    /// message is done with it.
    pub(super) async fn sound(&mut self, place: &mut [u8]) -> Result<(usize, bool), Failure> {
        let most = place.len().min(self.left);
        let read = timeout(TAKES, self.stream.read(&mut place[..most])).await;
        let Ok(read) = read else {
            return Err(Failure::new(Reason::Stalled, "the sound server stopped within a block of sound"));
        };
        let count = self.some(read)?;
        self.left -= count;
        Ok((count, self.left == 0))
    }

    /// The content of the reply that [`Self::next`] has just told of.
    pub(super) fn reply<R: TagStructRead>(&self) -> Result<R, Failure> {
        let mut content = Cursor::new(self.command.get(REPLY..).unwrap_or_default());
        let read = R::read(&mut TagStructReader::new(&mut content, self.version), self.version);
        read.map_err(|error| self.nonsense(error))
    }

    /// The same of a list.
    pub(super) fn replies<R: TagStructRead>(&self) -> Result<Vec<R>, Failure> {
        let mut content = Cursor::new(self.command.get(REPLY..).unwrap_or_default());
        let mut reader = TagStructReader::new(&mut content, self.version);
        let mut list = Vec::new();
        while reader.has_data_left().map_err(|error| self.nonsense(error))? {
            list.push(R::read(&mut reader, self.version).map_err(|error| self.nonsense(error))?);
        }
        Ok(list)
    }

    /// What a command means for us; most mean nothing.
    fn understand(&self) -> Result<Option<Message>, Failure> {
        let mut content = Cursor::new(self.command.as_slice());
        let mut reader = TagStructReader::new(&mut content, self.version);
        let bad = |error| self.nonsense(error);
        let (tag, request) = (reader.read_u32().map_err(bad)?, reader.read_u32().map_err(bad)?);
        let is = |other: CommandTag| tag == other as u32;
        let message = if is(CommandTag::Reply) {
            Message::Reply(request)
        } else if is(CommandTag::Error) {
            Message::Refused(request, reader.read_enum().unwrap_or(PulseError::Unknown))
        } else if is(CommandTag::Request) {
            let (channel, bytes) = (reader.read_u32().map_err(bad)?, reader.read_u32().map_err(bad)?);
            Message::Wanted(channel, bytes as usize)
        } else if is(CommandTag::Overflow) || is(CommandTag::Underflow) {
            Message::Slip
        } else if is(CommandTag::PlaybackStreamKilled) || is(CommandTag::PlaybackStreamMoved) {
            Message::PlayerGone
        } else if is(CommandTag::RecordStreamKilled) || is(CommandTag::RecordStreamMoved) {
            Message::RecorderGone(reader.read_u32().map_err(bad)?)
        } else {
            return Ok(None);
        };
        Ok(Some(message))
    }

    /// How many bytes came; none means that the connection has ended.
    fn some(&self, read: std::io::Result<usize>) -> Result<usize, Failure> {
        match read {
            Ok(0) => Err(self.gone("closed by the server")),
            Ok(count) => Ok(count),
            Err(error) => Err(self.gone(error)),
        }
    }

    fn gone(&self, why: impl fmt::Display) -> Failure {
        Failure::new(self.lost, format!("the connection to the sound server ended: {why}"))
    }

    fn nonsense(&self, what: impl fmt::Display) -> Failure {
        Failure::new(self.lost, format!("what answers is no sound server, or speaks another protocol: {what}"))
    }
}

/// The failure that the server's refusal is; `doing` says of what.
pub(super) fn refusal(doing: &str, error: PulseError) -> Failure {
    let (reason, help) = match error {
        PulseError::AccessDenied | PulseError::AuthKey => {
            (Reason::NotPermitted, "; its cookie, or its client.access, must let us")
        }
        PulseError::NoEntity => (Reason::NoDevice, "; the device is not there any more"),
        PulseError::Busy => (Reason::DeviceBusy, ""),
        PulseError::Io => (Reason::DeviceBusy, "; another program may hold the device"),
        PulseError::Killed | PulseError::ConnectionTerminated => (Reason::DeviceLost, ""),
        PulseError::Timeout => (Reason::Stalled, ""),
        PulseError::NotSupported => (Reason::Format, ""),
        // PipeWire's word for a wrong cookie and for what its access rules forbid, too.
        _ => (Reason::NoServer, ""),
    };
    Failure::new(reason, format!("the sound server refused {doing}: {error:?}{help}"))
}
