//! A session with the shop: the README's commands in their order, each held to what the README promises.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cargo::{cargo, run_step};
use crate::error::XtaskError;
use crate::http::{Request, Response};
use crate::readme::shop::{Scratch, Shop};
use crate::readme::step::{Step, with_address};

/// From an accepted order to the end of its story; the flaky bank may need a few retries.
const STORY_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a shop that was just started may ask for patience: it answers before it has opened its log, and a person
/// types slower than this program.
const OPENING_TIMEOUT: Duration = Duration::from_secs(10);
/// What the README writes where a reader puts the id of an order.
const ID: &str = "{id}";

/// The state between two commands.
pub(crate) struct Session {
    // Before `data`, so that a shop that is still up is killed before its directory goes.
    shop: Option<Shop>,
    data: Scratch,
    started: Instant,
    /// The id of the last accepted order.
    order: Option<String>,
}

impl Session {
    /// Builds the shop, does the steps, and stops it.
    pub(crate) fn run(steps: &[Step]) -> Result<(), XtaskError> {
        run_step(&mut cargo(&["build", "--release", "--package", "shop"]))?;
        let mut session = Self {
            data: Scratch::create()?,
            shop: None,
            started: Instant::now(),
            order: None,
        };
        for step in steps {
            session.step(step)?;
        }
        session.stop()
    }

    fn step(&mut self, step: &Step) -> Result<(), XtaskError> {
        match step {
            Step::Start(arguments) => self.start(arguments),
            Step::Beside(arguments) => self.beside(arguments),
            Step::Request(request) => self.request(request),
            Step::Known => Ok(()),
        }
    }

    /// A second start in one block is a restart on the same data.
    fn start(&mut self, arguments: &[String]) -> Result<(), XtaskError> {
        self.stop()?;
        self.started = Instant::now();
        let shop = Shop::start(arguments, self.data.path())?;
        Request::get(shop.address(), "/")
            .send()
            .map_err(|error| shop.error(format!("does not answer: {error}")))?;
        eprintln!(
            "    the shop answers after {} ms",
            self.started.elapsed().as_millis()
        );
        self.shop = Some(shop);
        Ok(())
    }

    fn stop(&mut self) -> Result<(), XtaskError> {
        let Some(shop) = self.shop.take() else {
            return Ok(());
        };
        let started = Instant::now();
        shop.stop()?;
        eprintln!(
            "    the shop stopped cleanly in {} ms",
            started.elapsed().as_millis()
        );
        Ok(())
    }

    /// Runs a subcommand of the shop against the running one; its exit status is its verdict.
    fn beside(&mut self, arguments: &[String]) -> Result<(), XtaskError> {
        let address = self.address();
        let mut command = cargo(&["run", "--quiet", "--release", "--package", "shop", "--"]);
        command.args(arguments.iter().map(|word| with_address(word, &address)));
        if !arguments.iter().any(|word| word == "--url") {
            command.args(["--url", &format!("http://{address}")]);
        }
        run_step(&mut command)
    }

    fn request(&mut self, written: &Request) -> Result<(), XtaskError> {
        let order = self.order.as_deref().unwrap_or(ID);
        let request = Request {
            address: with_address(&written.address, &self.address()),
            path: written.path.replace(ID, order),
            ..written.clone()
        };
        let response = self.send(&request)?;
        eprintln!("    {}: {}", request.title(), response.status);
        if (request.method.as_str(), request.path.as_str()) == ("POST", "/orders") {
            return self.follow_order(&request, &response);
        }
        match response.status {
            200..400 => Ok(()),
            status => Err(self.failure(&request, format!("answered {status}: {}", response.body))),
        }
    }

    /// Sends a request, again and again while a shop that was just started asks for it.
    fn send(&self, request: &Request) -> Result<Response, XtaskError> {
        let deadline = self.started + OPENING_TIMEOUT;
        loop {
            let response = request.send()?;
            if !asks_for_patience(&response) || Instant::now() > deadline {
                return Ok(response);
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// An order is accepted with 202 and its place, and its story ends as completed.
    fn follow_order(&mut self, request: &Request, response: &Response) -> Result<(), XtaskError> {
        let location = accepted_at(response).map_err(|problem| self.failure(request, problem))?;
        self.order = location.strip_prefix("/orders/").map(str::to_owned);
        let story = Request::get(&request.address, location);
        let deadline = Instant::now() + STORY_TIMEOUT;
        loop {
            let response = self.send(&story)?;
            match progress(&response) {
                Progress::Completed => {
                    eprintln!("    {}: completed", story.title());
                    return Ok(());
                }
                Progress::Wrong(problem) => return Err(self.failure(&story, problem)),
                Progress::Open if Instant::now() > deadline => {
                    let problem = format!(
                        "not completed after {} s: {}",
                        STORY_TIMEOUT.as_secs(),
                        response.body
                    );
                    return Err(self.failure(&story, problem));
                }
                Progress::Open => thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    fn address(&self) -> String {
        let shop = self
            .shop
            .as_ref()
            .expect("a plan whose session does not start the shop first is refused");
        shop.address().to_owned()
    }

    /// The failure of a request, with the end of the shop's output beside it.
    fn failure(&self, request: &Request, problem: String) -> XtaskError {
        let error = request.error(problem);
        match &self.shop {
            Some(shop) => shop.error(format!("answered wrongly: {error}")),
            None => error,
        }
    }
}

/// Whether the answer says that it will be another one soon. A plain 503 does not.
fn asks_for_patience(response: &Response) -> bool {
    response.status == 503 && response.header("retry-after").is_some()
}

/// Where an accepted order is to be found.
fn accepted_at(response: &Response) -> Result<&str, String> {
    if response.status != 202 {
        return Err(format!(
            "answered {}, expected 202: {}",
            response.status, response.body
        ));
    }
    let location = response.header("location").ok_or("202 without a Location")?;
    if location.strip_prefix("/orders/").is_none_or(str::is_empty) {
        return Err(format!("Location \"{location}\", expected /orders/{ID}"));
    }
    Ok(location)
}

#[derive(Debug, PartialEq, Eq)]
enum Progress {
    Open,
    Completed,
    Wrong(String),
}

/// How far the story of an order is. Right after it was accepted the projection may not know it yet.
fn progress(response: &Response) -> Progress {
    match response.status {
        404 => return Progress::Open,
        200 => {}
        other => return Progress::Wrong(format!("answered {other}: {}", response.body)),
    }
    let story: Value = match serde_json::from_str(&response.body) {
        Ok(story) => story,
        Err(error) => return Progress::Wrong(format!("answered no JSON ({error}): {}", response.body)),
    };
    match story.get("status").and_then(Value::as_str) {
        Some("completed") => Progress::Completed,
        Some("rejected") => Progress::Wrong(format!("the README's order was rejected: {}", response.body)),
        Some(_) => Progress::Open,
        None => Progress::Wrong(format!("a story without a status: {}", response.body)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_202_with_the_place_of_the_order_is_accepted() {
        for (status, location, expected) in [
            (202, Some("/orders/7"), Ok("/orders/7")),
            (200, Some("/orders/7"), Err("answered 200, expected 202")),
            (202, None, Err("202 without a Location")),
            (202, Some("/orders/"), Err("Location \"/orders/\"")),
        ] {
            let headers: Vec<_> = location.map(|place| ("location", place)).into_iter().collect();
            let response = Response::for_test(status, &headers, "");
            match (accepted_at(&response), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected),
                (Err(found), Err(expected)) => assert!(found.starts_with(expected), "{found}"),
                (found, expected) => panic!("{found:?}, expected {expected:?}"),
            }
        }
    }

    #[test]
    fn only_a_503_with_a_time_to_come_back_is_asked_again() {
        for (status, headers, expected) in [
            (503, &[("retry-after", "1")][..], true),
            (503, &[][..], false),
            (500, &[("retry-after", "1")][..], false),
            (202, &[("retry-after", "1")][..], false),
        ] {
            let response = Response::for_test(status, headers, "");
            assert_eq!(asks_for_patience(&response), expected, "{status} {headers:?}");
        }
    }

    #[test]
    fn a_story_is_open_until_it_says_completed_and_wrong_when_it_cannot_end_so() {
        for (status, body, expected) in [
            (404, "", "Open"),
            (200, r#"{"status":"placed"}"#, "Open"),
            (200, r#"{"status":"completed"}"#, "Completed"),
            (200, r#"{"status":"rejected"}"#, "Wrong"),
            (200, r#"{"state":"completed"}"#, "Wrong"),
            (200, "completed", "Wrong"),
            (500, r#"{"status":"completed"}"#, "Wrong"),
        ] {
            let progress = format!("{:?}", progress(&Response::for_test(status, &[], body)));
            assert!(progress.starts_with(expected), "{status} {body}: {progress}");
        }
    }
}
