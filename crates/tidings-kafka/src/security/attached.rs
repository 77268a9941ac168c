//! Clients that tokens are given to: the calls into librdkafka.
#![allow(unsafe_code, reason = "librdkafka is C; each block says why it is sound")]

use super::token::Token;
use crate::lock::lock;
use rdkafka::bindings as c;
use rdkafka::types::RDKafkaRespErr;
use std::ffi::{CStr, CString, c_char};
use std::fmt;
use std::ptr::null_mut;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

/// A client of librdkafka that lives as long as it is in the list.
struct Client(*mut c::rd_kafka_t);

// SAFETY: librdkafka's clients may be used from any thread.
unsafe impl Send for Client {}

/// The clients of one Kafka, and what each is told when it comes.
#[derive(Default)]
pub(super) struct Clients {
    list: Mutex<List>,
}

#[derive(Default)]
struct List {
    clients: Vec<(u64, Client)>,
    numbers: u64,
    last: Option<Result<Token, String>>,
}

/// A client in the list, until this is dropped; which has to happen before the client goes.
pub(crate) struct Attached {
    clients: Arc<Clients>,
    number: u64,
}

impl Clients {
    /// Gives every token from now on to a client, and the one there is.
    ///
    /// # Safety
    /// The client lives until what is returned is dropped.
    pub(super) unsafe fn attach(self: &Arc<Self>, client: *mut c::rd_kafka_t) -> Attached {
        let client = Client(client);
        let mut list = lock(&self.list);
        if let Some(last) = &list.last {
            // What the library dislikes about a token was told when it came.
            let _ = client.tell(last);
        }
        list.numbers += 1;
        let number = list.numbers;
        list.clients.push((number, client));
        Attached {
            clients: self.clone(),
            number,
        }
    }

    /// Gives a token to all clients, or tells them why there is none. What librdkafka dislikes about the token, if so.
    pub(super) fn tell(&self, news: Result<Token, String>) -> Result<(), String> {
        let mut list = lock(&self.list);
        let told = list.clients.iter().map(|(_, client)| client.tell(&news));
        // All are told, also when the first refuses.
        let refused = told
            .filter_map(Result::err)
            .fold(None, |_, refused| Some(refused));
        list.last = Some(news);
        refused.map_or(Ok(()), Err)
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        // While somebody is given a token the list is locked: after this nobody uses the client.
        lock(&self.clients.list)
            .clients
            .retain(|(number, _)| *number != self.number);
    }
}

impl fmt::Debug for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Attached")
    }
}

impl Client {
    fn tell(&self, news: &Result<Token, String>) -> Result<(), String> {
        match news {
            Ok(token) => self.give(token),
            Err(reason) => {
                let reason = zero_ended(reason);
                // SAFETY: the client is in the list, so it lives; the text is copied.
                unsafe { c::rd_kafka_oauthbearer_set_token_failure(self.0, reason.as_ptr()) };
                Ok(())
            }
        }
    }

    fn give(&self, token: &Token) -> Result<(), String> {
        let expires = token.expires().duration_since(SystemTime::UNIX_EPOCH);
        let expires = i64::try_from(expires.unwrap_or_default().as_millis()).unwrap_or(i64::MAX);
        let value = CString::new(token.value()).map_err(|_| "the token holds a zero byte".to_owned())?;
        let principal = zero_ended(token.principal());
        let extensions: Vec<CString> = token
            .extensions()
            .iter()
            .flat_map(|(name, value)| [zero_ended(name), zero_ended(value)])
            .collect();
        let mut pointers: Vec<*const c_char> = extensions.iter().map(|text| text.as_ptr()).collect();
        let first = if pointers.is_empty() {
            null_mut()
        } else {
            pointers.as_mut_ptr()
        };
        let mut reason: [c_char; 512] = [0; 512];
        // SAFETY: the client is in the list, so it lives. The library copies the texts, and writes at most as much as
        // there is room for, with a zero at the end.
        unsafe {
            let code = c::rd_kafka_oauthbearer_set_token(
                self.0,
                value.as_ptr(),
                expires,
                principal.as_ptr(),
                first,
                pointers.len(),
                reason.as_mut_ptr(),
                reason.len(),
            );
            match code {
                RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
                _ => Err(refusal(CStr::from_ptr(reason.as_ptr()), token)),
            }
        }
    }
}

/// The library's words, which repeat the token where a letter of it is not allowed.
fn refusal(reason: &CStr, token: &Token) -> String {
    let reason = reason.to_string_lossy();
    let shows = |secret: &str| !secret.is_empty() && reason.contains(secret);
    let extension = |(_, value): &(String, String)| shows(value);
    // What is too long for the library's buffer is cut, and found by its words.
    match shows(token.value())
        || token.extensions().iter().any(extension)
        || reason.contains("must only consist of")
    {
        true => "the token or an extension holds letters that are not allowed there".to_owned(),
        false => reason.into_owned(),
    }
}

fn zero_ended(text: &str) -> CString {
    CString::new(text.replace('\0', " ")).unwrap_or_default()
}
