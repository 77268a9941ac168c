//! Questions to RabbitMQ's management API, and the addresses of its nodes: [`RabbitApi`].

use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use ureq::http::{Request, header};

use super::virtual_host::VirtualHost;
use crate::error::BrokersError;
use crate::shared::GIVEN_RABBITMQ;

/// How long one node may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where a node is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// `amqp://user:password@host:port`, without a virtual host.
    pub(crate) amqp: String,
    /// `http://host:port`.
    pub(crate) http: String,
}

/// A RabbitMQ as its clients see it: addresses, virtual hosts, and whatever its management API knows.
///
/// Nodes are asked in turn until one answers, so it goes on while others are down.
#[derive(Debug, Clone)]
pub struct RabbitApi {
    agent: ureq::Agent,
    /// For HTTP.
    authorization: String,
    user: String,
    places: Vec<Place>,
}

impl RabbitApi {
    pub(crate) fn new(user: &str, password: &str, places: Vec<Place>) -> Self {
        use base64::Engine;
        let secret = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        Self {
            agent: agent(PATIENCE),
            authorization: format!("Basic {secret}"),
            user: user.to_owned(),
            places,
        }
    }

    /// A server that somebody else has started.
    pub(crate) fn at(url: &str, http: Option<String>) -> Result<Self, BrokersError> {
        let wrong = || BrokersError::Variable {
            variable: GIVEN_RABBITMQ,
            problem: format!("is {url:?}; write it as amqp://user:password@host:port"),
        };
        let rest = url.strip_prefix("amqp://").ok_or_else(wrong)?;
        let authority = rest.split('/').next().unwrap_or_default();
        let (login, address) = authority.rsplit_once('@').ok_or_else(wrong)?;
        let (user, password) = login.split_once(':').ok_or_else(wrong)?;
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let place = Place {
            amqp: format!("amqp://{authority}"),
            http: match http {
                Some(http) => http.trim_end_matches('/').to_owned(),
                None => format!("http://{host}:15672"),
            },
        };
        Ok(Self::new(user, password, vec![place]))
    }

    /// The address of the first node with the virtual host `/`: `amqp://user:password@host:port/%2F`.
    #[must_use]
    pub fn url(&self) -> String {
        self.urls().swap_remove(0)
    }

    /// The addresses of all nodes.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.urls_of("/")
    }

    pub(crate) fn urls_of(&self, virtual_host: &str) -> Vec<String> {
        let path = segment(virtual_host);
        let places = self.places.iter();
        places.map(|place| format!("{}/{path}", place.amqp)).collect()
    }

    /// The management address of the first node: `http://host:port`, below which all is called `/api/…`.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.places[0].http
    }

    /// The same, but each node is given another time to answer; default 5 s.
    #[must_use]
    pub fn patience(&self, patience: Duration) -> Self {
        Self {
            agent: agent(patience),
            ..self.clone()
        }
    }

    /// Only one of the nodes.
    pub(crate) fn only(&self, index: usize) -> Self {
        Self {
            places: vec![self.places[index].clone()],
            ..self.clone()
        }
    }

    /// Makes a virtual host that nobody else has; `name` is only how its name begins. It goes, with all that is in it and
    /// with every connection to it, when it is dropped.
    ///
    /// # Errors
    /// No node answers.
    pub fn virtual_host(&self, name: &str) -> Result<VirtualHost, BrokersError> {
        VirtualHost::make(self.clone(), crate::unique(name), &self.user)
    }

    /// What stands at a path of the management API: `queues/%2F` and the like, see [`segment`](Self::segment).
    ///
    /// # Errors
    /// No node answers, or there is no such thing.
    pub fn get(&self, path: &str) -> Result<Value, BrokersError> {
        self.ask("GET", path, None)
    }

    /// Makes or changes what stands at a path.
    ///
    /// # Errors
    /// No node answers, or it refuses.
    pub fn put(&self, path: &str, body: &Value) -> Result<(), BrokersError> {
        self.ask("PUT", path, Some(body)).map(drop)
    }

    /// Has something done. Where it is not sure whether a node has done it, no other one is asked.
    ///
    /// # Errors
    /// No node answers, or it refuses.
    pub fn post(&self, path: &str, body: &Value) -> Result<Value, BrokersError> {
        self.ask("POST", path, Some(body))
    }

    /// Deletes what stands at a path.
    ///
    /// # Errors
    /// No node answers, or there is no such thing.
    pub fn delete(&self, path: &str) -> Result<(), BrokersError> {
        self.ask("DELETE", path, None).map(drop)
    }

    /// A name as a part of a path: the virtual host `/` is `%2F`.
    #[must_use]
    pub fn segment(name: &str) -> String {
        segment(name)
    }

    /// The names of the nodes that run and belong together, as the first one that answers sees them.
    ///
    /// # Errors
    /// No node answers.
    pub(crate) fn running(&self) -> Result<Vec<String>, BrokersError> {
        let nodes = self.get("nodes")?;
        let running = list(&nodes).filter(|node| node["running"] == true);
        Ok(running.map(|node| text(&node["name"])).collect())
    }

    /// The nodes that are short of memory.
    ///
    /// # Errors
    /// No node answers.
    pub(crate) fn memory_alarms(&self) -> Result<Vec<String>, BrokersError> {
        // With an alarm the status is that of a failure.
        let (_, body) = self.exchange("GET", "health/checks/alarms", None)?;
        let answer: Value = serde_json::from_str(&body).unwrap_or_default();
        let alarms = list(&answer["alarms"]).filter(|alarm| alarm["resource"] == "memory");
        Ok(alarms.map(|alarm| text(&alarm["node"])).collect())
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, BrokersError> {
        let (status, answer) = self.exchange(method, path, body)?;
        let problem = match status {
            200..300 if answer.is_empty() => return Ok(Value::Null),
            200..300 => match serde_json::from_str(&answer) {
                Ok(value) => return Ok(value),
                Err(error) => format!("was answered with what is no JSON: {error}"),
            },
            _ => format!("was refused with {status}: {}", answer.trim()),
        };
        Err(BrokersError::Api {
            request: format!("{method} {path}"),
            status: Some(status),
            problem,
        })
    }

    fn exchange(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(u16, String), BrokersError> {
        let mut problems = Vec::new();
        for place in &self.places {
            let error = match self.exchange_with(place, method, path, body) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            problems.push(format!("{} says nothing: {error}", place.http));
            // What is done twice by the others is the same.
            if method == "POST" && !was_never_there(&error) {
                break;
            }
        }
        Err(BrokersError::Api {
            request: format!("{method} {path}"),
            status: None,
            problem: format!("got no answer: {}", problems.join("; ")),
        })
    }

    fn exchange_with(
        &self,
        place: &Place,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(u16, String), ureq::Error> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}/api/{path}", place.http))
            .header(header::AUTHORIZATION, &self.authorization)
            .header(header::CONTENT_TYPE, "application/json");
        let mut response = match body {
            Some(body) => self.agent.run(request.body(body.to_string())?)?,
            None => self.agent.run(request.body(())?)?,
        };
        Ok((response.status().as_u16(), response.body_mut().read_to_string()?))
    }
}

/// Connections are not kept: the next request may be for a node that was killed since.
fn agent(patience: Duration) -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(patience))
        .http_status_as_error(false)
        .max_idle_connections(0)
        .proxy(None);
    config.build().new_agent()
}

fn was_never_there(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::ConnectionFailed => true,
        ureq::Error::Io(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
        _ => false,
    }
}

/// What a part of a path writes by its number: everything but letters, digits and `-._~`.
const ENCODED: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// One part of a path.
pub(crate) fn segment(name: &str) -> String {
    utf8_percent_encode(name, &ENCODED).to_string()
}

pub(crate) fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_given_server_is_found_with_and_without_the_address_of_its_api() {
        let url = "amqp://me:secret@rabbit.test:5673/%2F";
        let api = RabbitApi::at(url, None).unwrap();
        assert_eq!(
            (api.url().as_str(), api.base()),
            (url, "http://rabbit.test:15672")
        );
        assert_eq!(api.urls_of("a b"), ["amqp://me:secret@rabbit.test:5673/a%20b"]);
        let api = RabbitApi::at("amqp://me:secret@rabbit.test", Some("http://other:1/".into())).unwrap();
        assert_eq!(
            (api.url().as_str(), api.base()),
            ("amqp://me:secret@rabbit.test/%2F", "http://other:1")
        );
        for wrong in ["rabbit.test:5672", "amqp://rabbit.test", "amqp://me@rabbit.test"] {
            let said = RabbitApi::at(wrong, None).unwrap_err().to_string();
            assert!(
                said.contains(wrong) && said.contains("amqp://user:password@host:port"),
                "{said}"
            );
        }
    }

    #[test]
    fn names_of_any_kind_are_one_part_of_a_path() {
        for (name, expected) in [
            ("/", "%2F"),
            ("orders-1.x~y_z", "orders-1.x~y_z"),
            ("ä b%", "%C3%A4%20b%25"),
        ] {
            assert_eq!(segment(name), expected);
        }
    }
}
