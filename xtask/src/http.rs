//! One HTTP request at a time, by hand: enough to do what the README's `curl` lines do, on a machine without curl.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::error::XtaskError;

/// How long to wait for one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// More than any answer of the shop that the README asks for.
const BODY_BYTES_AT_MOST: u64 = 16 * 1024 * 1024;

/// A request to `address`, which is a host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) address: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<String>,
    pub(crate) body: String,
}

/// The answer; `body` stays empty for a stream of events, which has no end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Request {
    pub(crate) fn get(address: &str, path: &str) -> Self {
        Self {
            method: "GET".into(),
            address: address.to_owned(),
            path: path.to_owned(),
            headers: Vec::new(),
            body: String::new(),
        }
    }

    /// The request in a few words, for messages.
    pub(crate) fn title(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// Sends it and reads the whole answer.
    pub(crate) fn send(&self) -> Result<Response, XtaskError> {
        self.exchange().map_err(|error| self.error(error.to_string()))
    }

    /// This request's own error.
    pub(crate) fn error(&self, problem: impl Into<String>) -> XtaskError {
        XtaskError::Http {
            request: self.title(),
            problem: problem.into(),
        }
    }

    fn exchange(&self) -> std::io::Result<Response> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
        stream.write_all(self.text().as_bytes())?;
        let mut reader = BufReader::new(stream);
        let status = parse_status(&read_line(&mut reader)?)?;
        let headers = read_headers(&mut reader)?;
        let mut response = Response {
            status,
            headers,
            body: String::new(),
        };
        if response.is_endless() {
            return Ok(response);
        }
        let mut body = Vec::new();
        reader.take(BODY_BYTES_AT_MOST).read_to_end(&mut body)?;
        response.body = String::from_utf8_lossy(&body).into_owned();
        Ok(response)
    }

    /// HTTP/1.0, because its answer is never chunked and ends with the connection.
    fn text(&self) -> String {
        let mut text = format!(
            "{} {} HTTP/1.0\r\nhost: {}\r\n",
            self.method, self.path, self.address
        );
        for header in &self.headers {
            text.push_str(&format!("{header}\r\n"));
        }
        if !self.body.is_empty() {
            text.push_str(&format!("content-length: {}\r\n", self.body.len()));
        }
        text.push_str("\r\n");
        text.push_str(&self.body);
        text
    }
}

impl Response {
    /// The first header of that name, in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(header, _)| header == name)
            .map(|(_, value)| value.as_str())
    }

    /// An answer as if it had come over the wire.
    #[cfg(test)]
    pub(crate) fn for_test(status: u16, headers: &[(&str, &str)], body: &str) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self {
            status,
            headers: headers.iter().map(owned).collect(),
            body: body.to_owned(),
        }
    }

    fn is_endless(&self) -> bool {
        self.header("content-type")
            .is_some_and(|value| value.starts_with("text/event-stream"))
    }
}

fn read_line(reader: &mut impl BufRead) -> std::io::Result<String> {
    let mut line = String::new();
    reader.take(64 * 1024).read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

fn read_headers(reader: &mut impl BufRead) -> std::io::Result<Vec<(String, String)>> {
    let mut headers = Vec::new();
    loop {
        let line = read_line(reader)?;
        if line.is_empty() {
            return Ok(headers);
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
}

fn parse_status(line: &str) -> std::io::Result<u16> {
    let status = line
        .strip_prefix("HTTP/")
        .and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
    status.ok_or_else(|| std::io::Error::other(format!("no HTTP answer: \"{line}\"")))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// Answers one connection with `answer` and returns what it was sent, up to the end of the body.
    fn serve_once(answer: &'static str, body_bytes: usize) -> (String, thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut seen = Vec::new();
            while !seen.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                seen.extend(byte);
            }
            let mut body = vec![0; body_bytes];
            stream.read_exact(&mut body).unwrap();
            seen.extend(body);
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(seen).unwrap()
        });
        (address, server)
    }

    #[test]
    fn a_post_carries_its_headers_and_body_and_the_answer_is_read_whole() {
        let answer = "HTTP/1.0 202 Accepted\r\nLocation: /orders/7\r\ncontent-type: text/plain\r\n\r\ntaken";
        let (address, server) = serve_once(answer, 2);
        let request = Request {
            method: "POST".into(),
            headers: vec!["content-type: application/json".into()],
            body: "{}".into(),
            ..Request::get(&address, "/orders")
        };
        let response = request.send().unwrap();
        assert_eq!((response.status, response.body.as_str()), (202, "taken"));
        assert_eq!(response.header("location"), Some("/orders/7"));
        let seen = server.join().unwrap();
        assert!(seen.starts_with("POST /orders HTTP/1.0\r\n"), "{seen}");
        assert!(seen.contains("\r\ncontent-type: application/json\r\n"), "{seen}");
        assert!(seen.ends_with("content-length: 2\r\n\r\n{}"), "{seen}");
    }

    #[test]
    fn a_stream_of_events_is_not_read_to_its_end() {
        let (address, server) = serve_once(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n",
            0,
        );
        let response = Request::get(&address, "/events").send().unwrap();
        assert_eq!((response.status, response.body.as_str()), (200, ""));
        server.join().unwrap();
    }

    #[test]
    fn what_is_no_http_is_an_error_that_names_the_request() {
        let (address, server) = serve_once("hello\r\n", 0);
        let error = Request::get(&address, "/").send().unwrap_err().to_string();
        assert_eq!(error, "GET /: no HTTP answer: \"hello\"");
        server.join().unwrap();
    }
}
