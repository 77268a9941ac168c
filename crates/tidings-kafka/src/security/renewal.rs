//! Tokens that are there before they are needed: [`Tokens`].

use super::attached::{Attached, Clients};
use super::token::{DynTokenSource, Token, TokenError};
use crate::error::KafkaError;
use crate::lock::lock;
use rdkafka::bindings::rd_kafka_t;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::sync::Notify;
use tokio::time::timeout;

/// A token is renewed when this part of its life is over.
const RENEW_AT: f64 = 0.8;
/// How long a source may take that awaits.
const PATIENCE: Duration = Duration::from_secs(30);
/// The first wait after a failure, doubled up to the second.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// A source whose tokens live for a moment only is not asked without a pause.
const SHORTEST_WAIT: Duration = Duration::from_millis(100);

/// The tokens of one Kafka: one source, one thread, all clients. librdkafka would ask for each client by itself, from
/// whichever thread happens to look after it.
pub(crate) struct Tokens {
    shared: Arc<Shared>,
}

struct Shared {
    clients: Arc<Clients>,
    standing: Mutex<Standing>,
    stop: Notify,
}

#[derive(Default)]
struct Standing {
    expires: Option<SystemTime>,
    failure: Option<String>,
}

impl Tokens {
    /// Begins to ask. It ends when this is dropped.
    pub(crate) fn start(source: Arc<dyn DynTokenSource>) -> Result<Self, KafkaError> {
        let shared = Arc::new(Shared {
            clients: Arc::default(),
            standing: Mutex::default(),
            stop: Notify::new(),
        });
        let renewing = shared.clone();
        std::thread::Builder::new()
            .name("tidings-kafka-tokens".to_owned())
            .spawn(move || run(&renewing, source))
            .map_err(|error| KafkaError::Client {
                role: "token source",
                reason: format!("no thread for it: {error}"),
            })?;
        Ok(Self { shared })
    }

    /// Gives every token to a client.
    ///
    /// # Safety
    /// The client lives until what is returned is dropped.
    #[allow(unsafe_code, reason = "the promise is handed on")]
    pub(crate) unsafe fn attach(&self, client: *mut rd_kafka_t) -> Attached {
        // SAFETY: as the caller promises.
        unsafe { self.shared.clients.attach(client) }
    }

    /// Why there is no token that is good now. A renewal that fails is none as long as the token before is good.
    pub(crate) fn trouble(&self) -> Option<String> {
        let standing = lock(&self.shared.standing);
        let expires = standing.expires;
        match &standing.failure {
            Some(failure) if expires.is_none_or(|expires| expires <= SystemTime::now()) => {
                Some(failure.clone())
            }
            _ => None,
        }
    }
}

impl Drop for Tokens {
    fn drop(&mut self) {
        self.shared.stop.notify_one();
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens")
    }
}

/// The thread. Its runtime is made and dropped here, because neither is allowed where async code runs.
fn run(shared: &Shared, source: Arc<dyn DynTokenSource>) {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            runtime.block_on(shared.renew(source));
            // What the source has left running is not waited for.
            runtime.shutdown_background();
        }
        Err(error) => shared.fail(&TokenError::new(format!(
            "no runtime for the token source: {error}"
        ))),
    }
}

impl Shared {
    async fn renew(&self, source: Arc<dyn DynTokenSource>) {
        let mut wait = FIRST_WAIT;
        loop {
            let asked = tokio::select! {
                asked = ask(source.clone()) => asked,
                () = self.stop.notified() => return,
            };
            let nap = match asked.and_then(|token| self.give(token)) {
                Ok(life) => {
                    wait = FIRST_WAIT;
                    life.mul_f64(RENEW_AT).max(SHORTEST_WAIT)
                }
                Err(error) => {
                    self.fail(&error);
                    // Services that lost the same endpoint do not all come back at the same moment.
                    let nap = wait.mul_f64(0.75 + fastrand::f64() / 2.0);
                    wait = (wait * 2).min(LONGEST_WAIT);
                    nap
                }
            };
            tokio::select! {
                () = tokio::time::sleep(nap) => {}
                () = self.stop.notified() => return,
            }
        }
    }

    /// Gives a token to all clients; how long it is good from now.
    fn give(&self, token: Token) -> Result<Duration, TokenError> {
        let expires = token.expires();
        let life = expires.duration_since(SystemTime::now()).unwrap_or_default();
        if life.is_zero() {
            return Err(TokenError::new(
                "the token source gave a token that has expired: look at its clock and at this machine's",
            ));
        }
        self.clients.tell(Ok(token)).map_err(TokenError::new)?;
        *lock(&self.standing) = Standing {
            expires: Some(expires),
            failure: None,
        };
        tracing::debug!(life_s = life.as_secs(), "a token for Kafka was renewed");
        Ok(life)
    }

    fn fail(&self, error: &TokenError) {
        let failure = format!("no token for OAUTHBEARER: {error}");
        tracing::warn!("{failure}; it is tried again");
        let mut standing = lock(&self.standing);
        standing.failure = Some(failure);
        let lives = standing
            .expires
            .is_some_and(|expires| expires > SystemTime::now());
        drop(standing);
        // A client with a token that is good still has nothing to complain about.
        if !lives {
            let _ = self.clients.tell(Err(error.to_string()));
        }
    }
}

/// As a task of its own: a source that panics is one that fails.
async fn ask(source: Arc<dyn DynTokenSource>) -> Result<Token, TokenError> {
    let asked = tokio::spawn(async move { timeout(PATIENCE, source.token()).await });
    match asked.await {
        Ok(Ok(token)) => token,
        Ok(Err(_)) => Err(TokenError::new(format!(
            "the token source gave none within {PATIENCE:?}"
        ))),
        Err(_) => Err(TokenError::new("the token source panicked")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use tokio::time::Instant;

    /// Does what it is told and remembers when it was asked.
    struct Source {
        asked: Arc<Mutex<Vec<Instant>>>,
        answer: Box<dyn Fn() -> Result<Token, TokenError> + Send + Sync>,
    }

    impl TokenSource for Source {
        async fn token(&self) -> Result<Token, TokenError> {
            lock(&self.asked).push(Instant::now());
            (self.answer)()
        }
    }

    use super::super::token::TokenSource;

    /// When a source was asked within some time, in seconds from the start, and what is wrong then.
    async fn asked_within(
        seconds: u64,
        answer: impl Fn() -> Result<Token, TokenError> + Send + Sync + 'static,
    ) -> (Vec<f64>, Option<String>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::new(Shared {
            clients: Arc::default(),
            standing: Mutex::default(),
            stop: Notify::new(),
        });
        let source = Source {
            asked: asked.clone(),
            answer: Box::new(answer),
        };
        let start = Instant::now();
        let tokens = Tokens {
            shared: shared.clone(),
        };
        let renewing = tokio::spawn(async move { shared.renew(Arc::new(source)).await });
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let trouble = tokens.trouble();
        drop(tokens);
        renewing.await.expect("it ends when nobody needs tokens any more");
        let times = lock(&asked)
            .iter()
            .map(|at| at.duration_since(start).as_secs_f64())
            .collect();
        (times, trouble)
    }

    fn good_for(seconds: u64) -> Result<Token, TokenError> {
        Ok(Token::new("t", SystemTime::now() + Duration::from_secs(seconds)))
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_renewed_when_four_fifths_of_its_life_are_over() {
        let (times, trouble) = asked_within(250, || good_for(100)).await;
        assert_eq!(trouble, None);
        assert_eq!(times.len(), 4, "{times:?}");
        for (time, expected) in times.iter().zip([0.0, 80.0, 160.0, 240.0]) {
            assert!((time - expected).abs() < 1.0, "{times:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_fails_is_asked_less_and_less_and_told_of() {
        let (times, trouble) = asked_within(200, || Err(TokenError::new("the vault is sealed"))).await;
        assert!(trouble.is_some_and(|trouble| trouble.contains("the vault is sealed")));
        assert!((8..=14).contains(&times.len()), "{times:?}");
        let waits: Vec<_> = times.windows(2).map(|two| two[1] - two[0]).collect();
        assert!(waits[0] < 1.0, "{waits:?}");
        assert!(
            waits.last().is_some_and(|wait| (22.0..38.0).contains(wait)),
            "{waits:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_that_fails_is_no_trouble_while_the_token_before_is_good() {
        let calls = AtomicU32::new(0);
        let (times, trouble) = asked_within(100, move || match calls.fetch_add(1, Ordering::Relaxed) {
            0 => good_for(100),
            _ => Err(TokenError::new("the vault is sealed")),
        })
        .await;
        assert!(times.len() > 3, "it is tried again in time: {times:?}");
        // The clock of the wall stands still in this test.
        assert_eq!(trouble, None);
    }

    #[tokio::test(start_paused = true)]
    async fn tokens_that_have_expired_and_sources_that_panic_or_sleep_are_failures() {
        let old = SystemTime::now() - Duration::from_secs(1);
        let (_, trouble) = asked_within(1, move || Ok(Token::new("t", old))).await;
        assert!(trouble.is_some_and(|trouble| trouble.contains("has expired")));
        let (times, trouble) = asked_within(1, || panic!("a bug")).await;
        assert!(trouble.is_some_and(|trouble| trouble.contains("panicked")));
        assert!(times.len() > 1, "it is asked again");
    }
}
