//! A connection that rows come on as they are committed: [`Connection`].

use super::address::Address;
use super::bytes_in::{Input, Unreadable};
use super::error::ReplicationError;
use super::lsn::Lsn;
use crate::tls::Stream;
use bytes::{BufMut, Bytes, BytesMut};
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::frontend;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

/// How much is read into one piece of memory. What is read is cut into rows and not copied, so a row that is kept keeps
/// this much.
const CHUNK: usize = 64 << 10;
/// With less room than that left in a piece, the next one is begun. The socket gives a few KiB at a time; a new piece for each
/// read would keep several times of what the rows in it take.
const ROOM: usize = 4 << 10;
/// PostgreSQL sends nothing that is larger.
const LARGEST: usize = 1 << 30;
/// Milliseconds from 1970 to 2000, where PostgreSQL's time begins.
const EPOCH: Duration = Duration::from_secs(946_684_800);

/// A connection that rows come on as they are committed.
pub(crate) struct Connection {
    stream: Box<dyn Stream>,
    place: String,
    read: BytesMut,
    write: BytesMut,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

/// What the server says when it is replicated.
#[derive(Debug)]
pub(crate) enum Said {
    /// Something for the decoder.
    Change(Bytes),
    /// It has sent everything up to there.
    Alive { end: Lsn, wants_answer: bool },
}

impl Connection {
    /// Connects and says who we are.
    pub(crate) async fn open(address: &Address) -> Result<Self, ReplicationError> {
        let failed = |error: io::Error| ReplicationError::Connection {
            place: address.place.clone(),
            reason: error.to_string(),
        };
        let stream: Box<dyn Stream> = match &address.socket {
            Some(directory) => {
                let path: PathBuf = directory.join(format!(".s.PGSQL.{}", address.port));
                Box::new(UnixStream::connect(path).await.map_err(failed)?)
            }
            None => {
                let host = address.host.trim_start_matches('[').trim_end_matches(']');
                let stream = TcpStream::connect((host, address.port)).await.map_err(failed)?;
                stream.set_nodelay(true).map_err(failed)?;
                match &address.tls {
                    Some(tls) => tls
                        .over(stream, host)
                        .await
                        .map_err(|insecure| ReplicationError::insecure(&address.place, insecure))?,
                    None => Box::new(stream),
                }
            }
        };
        let mut connection = Self {
            stream,
            place: address.place.clone(),
            read: BytesMut::new(),
            write: BytesMut::new(),
        };
        connection.log_in(address).await?;
        Ok(connection)
    }

    async fn log_in(&mut self, address: &Address) -> Result<(), ReplicationError> {
        let parameters = [
            ("user", address.user.as_str()),
            ("database", address.database.as_str()),
            ("replication", "database"),
            ("client_encoding", "UTF8"),
            ("application_name", "tidings"),
        ];
        self.put(|buffer| frontend::startup_message(parameters, buffer))?;
        self.flush().await?;
        let mut scram = None;
        loop {
            let (kind, body) = self.frame().await?;
            match kind {
                b'R' => self.authenticate(address, body, &mut scram).await?,
                b'Z' => return Ok(()),
                // Parameters and notices.
                _ => {}
            }
        }
    }

    async fn authenticate(
        &mut self,
        address: &Address,
        body: Bytes,
        scram: &mut Option<ScramSha256>,
    ) -> Result<(), ReplicationError> {
        let mut input = Input::new(body, "a question of who we are");
        let password = address.password.as_bytes();
        match (self.readable(input.u32())?, scram) {
            (0, _) => return Ok(()),
            (3, _) => self.put(|buffer| frontend::password_message(password, buffer))?,
            (5, _) => {
                let salt = self.readable(input.u32())?.to_be_bytes();
                let hash = md5_hash(address.user.as_bytes(), password, salt);
                self.put(|buffer| frontend::password_message(hash.as_bytes(), buffer))?;
            }
            (10, scram) => {
                self.check_mechanisms(input)?;
                let begun = scram.insert(ScramSha256::new(password, ChannelBinding::unsupported()));
                self.put(|buffer| frontend::sasl_initial_response(SCRAM_SHA_256, begun.message(), buffer))?;
            }
            (11, Some(scram)) => {
                let told = scram.update(&input.rest());
                told.map_err(|error| self.address(&error.to_string()))?;
                self.put(|buffer| frontend::sasl_response(scram.message(), buffer))?;
            }
            (12, Some(scram)) => {
                let told = scram.finish(&input.rest());
                return told.map_err(|error| self.address(&error.to_string()));
            }
            (other, _) => {
                return Err(self.address(&format!(
                    "it asks for authentication of the kind {other}; trust, password, md5 and scram-sha-256 are possible"
                )));
            }
        }
        self.flush().await
    }

    fn check_mechanisms(&self, mut input: Input) -> Result<(), ReplicationError> {
        while !input.is_empty() {
            if *self.readable(input.until_zero())? == *SCRAM_SHA_256.as_bytes() {
                return Ok(());
            }
        }
        Err(self.address("it offers no scram-sha-256 without channel binding"))
    }

    /// Begins to read a slot. Names were checked before.
    pub(crate) async fn start(&mut self, slot: &str, publication: &str) -> Result<(), ReplicationError> {
        let start = format!(
            "START_REPLICATION SLOT \"{slot}\" LOGICAL 0/0 (proto_version '1', publication_names '\"{publication}\"', \
             binary 'true')"
        );
        self.put(|buffer| frontend::query(&start, buffer))?;
        self.flush().await?;
        loop {
            match self.frame().await? {
                (b'W', _) => return Ok(()),
                (b'C' | b'Z', _) => return Err(self.lost("it ended replication at once")),
                _ => {}
            }
        }
    }

    /// Waits for more bytes. What came is kept if it is not waited for any more.
    pub(crate) async fn fill(&mut self) -> Result<(), ReplicationError> {
        if self.read.capacity() - self.read.len() < ROOM {
            self.read.reserve(CHUNK);
        }
        match self.stream.read_buf(&mut self.read).await {
            Ok(0) => Err(self.lost("the server closed it")),
            Ok(_) => Ok(()),
            Err(error) => Err(self.lost(&error.to_string())),
        }
    }

    /// The next of what has come, if it is whole.
    pub(crate) fn said(&mut self) -> Result<Option<Said>, ReplicationError> {
        while let Some((kind, body)) = self.whole_frame()? {
            match kind {
                b'd' => {
                    let said = parse(body);
                    return self.readable(said).map(Some);
                }
                b'c' | b'C' | b'Z' => return Err(self.lost("the server ended replication")),
                _ => {}
            }
        }
        Ok(None)
    }

    /// Tells how far everything is done with, which the server may forget.
    pub(crate) async fn confirm(&mut self, done: Lsn) -> Result<(), ReplicationError> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH + EPOCH);
        let now = u64::try_from(now.unwrap_or_default().as_micros()).unwrap_or_default();
        let mut update = BytesMut::with_capacity(34);
        update.put_u8(b'r');
        // What was written, flushed and applied: nothing is done by halves here.
        for _ in 0..3 {
            update.put_u64(done.0);
        }
        update.put_u64(now);
        update.put_u8(0);
        self.put(|buffer| frontend::CopyData::new(update.freeze()).map(|data| data.write(buffer)))?;
        self.flush().await
    }

    /// Ends it in good order, so that the slot is free at once.
    pub(crate) async fn close(mut self) {
        frontend::copy_done(&mut self.write);
        frontend::terminate(&mut self.write);
        // Otherwise the server notices by itself.
        if self.flush().await.is_ok() {
            let _ = self.stream.shutdown().await;
        }
    }

    /// The next frame. An error of the server is one.
    async fn frame(&mut self) -> Result<(u8, Bytes), ReplicationError> {
        loop {
            if let Some(frame) = self.whole_frame()? {
                return Ok(frame);
            }
            self.fill().await?;
        }
    }

    fn whole_frame(&mut self) -> Result<Option<(u8, Bytes)>, ReplicationError> {
        let Some(&[kind, a, b, c, d]) = self.read.first_chunk() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([a, b, c, d]);
        // It counts itself and not the kind.
        let whole = usize::try_from(length).unwrap_or(LARGEST).saturating_add(1);
        if !(5..=LARGEST).contains(&whole) {
            return self.readable(Err(Unreadable::Length(length.into())));
        }
        if self.read.len() < whole {
            self.read.reserve(whole - self.read.len());
            return Ok(None);
        }
        let body = self.read.split_to(whole).freeze().slice(5..);
        match kind {
            b'E' => Err(self.refused(body)),
            kind => Ok(Some((kind, body))),
        }
    }

    /// What the server refuses, in its words.
    fn refused(&self, body: Bytes) -> ReplicationError {
        let mut input = Input::new(body, "an error");
        let (mut code, mut message) = (String::new(), String::new());
        while let (Ok(field @ 1..), Ok(text)) = (input.byte(), input.until_zero()) {
            let text = String::from_utf8_lossy(&text).into_owned();
            match field {
                b'C' => code = text,
                b'M' => message = text,
                _ => {}
            }
        }
        super::slot::meaning(&self.place, &code, message)
    }

    fn put(&mut self, write: impl FnOnce(&mut BytesMut) -> io::Result<()>) -> Result<(), ReplicationError> {
        write(&mut self.write).map_err(|error| self.address(&error.to_string()))
    }

    async fn flush(&mut self) -> Result<(), ReplicationError> {
        // What is secured is collected until it is told to go.
        let sent = async {
            self.stream.write_all_buf(&mut self.write).await?;
            self.stream.flush().await
        };
        sent.await.map_err(|error| self.lost(&error.to_string()))
    }

    fn readable<T>(&self, read: Result<T, Unreadable>) -> Result<T, ReplicationError> {
        read.map_err(|error| ReplicationError::Unreadable {
            place: self.place.clone(),
            reason: error.to_string(),
        })
    }

    fn lost(&self, reason: &str) -> ReplicationError {
        ReplicationError::Connection {
            place: self.place.clone(),
            reason: reason.to_owned(),
        }
    }

    fn address(&self, reason: &str) -> ReplicationError {
        ReplicationError::Address {
            place: self.place.clone(),
            reason: reason.to_owned(),
        }
    }
}

/// What is inside of the copied data.
fn parse(body: Bytes) -> Result<Said, Unreadable> {
    let mut input = Input::new(body, "what a server says");
    match input.byte()? {
        b'w' => {
            // From where, to where, and when.
            input.skip(24)?;
            Ok(Said::Change(input.rest()))
        }
        b'k' => {
            let end = Lsn(input.u64()?);
            input.skip(8)?;
            let wants_answer = input.byte()? != 0;
            Ok(Said::Alive { end, wants_answer })
        }
        kind => Err(Unreadable::Kind {
            what: "what a server says",
            kind: kind.into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn connection(read: &[u8]) -> Connection {
        Connection {
            stream: Box::new(tokio::io::empty()),
            place: "here".into(),
            read: read.into(),
            write: BytesMut::new(),
        }
    }

    #[test]
    fn frames_come_whole_and_an_error_of_the_server_is_one() {
        let alive = b"d\x00\x00\x00\x16k\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01";
        let mut both = connection(&[&alive[..], &b"N\x00\x00\x00\x05\x00"[..], &alive[..9]].concat());
        let said = both.said().unwrap().unwrap();
        assert!(
            matches!(
                said,
                Said::Alive {
                    end: Lsn(256),
                    wants_answer: true
                }
            ),
            "{said:?}"
        );
        assert!(both.said().unwrap().is_none());
        both.read.extend_from_slice(&alive[9..]);
        assert!(both.said().unwrap().is_some());
        let error = b"E\x00\x00\x00\x18C55006\0Mslot is used\0\0".to_vec();
        let refused = connection(&error).said().unwrap_err();
        assert!(matches!(refused, ReplicationError::Busy { .. }), "{refused}");
    }

    #[tokio::test]
    async fn rows_that_are_kept_keep_little_more_than_themselves() {
        let frame = [b"d\x00\x00\x02\x00w".as_slice(), &[0; 507]].concat();
        let mut read = connection(&[]);
        let (mut server, stream) = tokio::io::duplex(frame.len());
        read.stream = Box::new(stream);
        let frames = 4 * CHUNK / frame.len();
        let (mut kept, mut pieces) = (Vec::<Bytes>::new(), 0);
        for _ in 0..frames {
            server.write_all(&frame).await.unwrap();
            read.fill().await.unwrap();
            let Some(Said::Change(change)) = read.said().unwrap() else {
                panic!("no frame")
            };
            let apart = kept
                .last()
                .map(|last| change.as_ptr().addr().wrapping_sub(last.as_ptr().addr()));
            pieces += usize::from(apart != Some(frame.len()));
            kept.push(change);
        }
        assert!(
            pieces <= 6,
            "{frames} frames of 512 bytes in {pieces} pieces of {CHUNK}"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_of_a_server_are_read_without_a_panic(
            bodies in prop::collection::vec((prop::sample::select(b"dENRZcW".to_vec()), prop::collection::vec(any::<u8>(), 0..40)), 0..5),
            rest in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let mut bytes = Vec::new();
            for (kind, body) in bodies {
                bytes.push(kind);
                bytes.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
                bytes.extend(body);
            }
            bytes.extend(rest);
            let mut connection = connection(&bytes);
            while let Ok(Some(_)) = connection.said() {}
        }
    }
}
