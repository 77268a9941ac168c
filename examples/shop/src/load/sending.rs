//! The load itself: some send, some watch.

use super::client::Client;
use super::expect::{Planned, Told};
use super::report::{Report, Tally, Verdict};
use super::{LoadError, LoadOptions};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::task::JoinSet;

/// Between two questions about the same order.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// After a request that got no answer.
const TRY_AGAIN: Duration = Duration::from_millis(50);
/// For so long after its end an order may lack events of before.
const BEHIND: Duration = Duration::from_secs(10);

/// An accepted order that is watched until it ends.
struct Watched {
    planned: Planned,
    path: String,
    ask_at: Instant,
    /// When it was seen to have ended.
    ended_at: Option<Instant>,
}

impl Watched {
    /// Whether its end may be told before something that came before it: channels are read beside each other, and one may
    /// be behind.
    fn may_be_behind(&mut self, told: &Told) -> bool {
        let ended_at = *self.ended_at.get_or_insert_with(Instant::now);
        told.mistake(&self.planned).is_some() && ended_at.elapsed() < BEHIND
    }
}

/// What all tasks share.
struct Shared {
    options: LoadOptions,
    run: String,
    next: AtomicU64,
    watched: Mutex<VecDeque<Watched>>,
    tally: Mutex<Tally>,
    moved: Mutex<(Instant, String)>,
    given_up: AtomicBool,
    accepted_bar: ProgressBar,
    ended_bar: ProgressBar,
}

/// Sends the orders, waits until all have ended, prints how it went.
///
/// # Errors
/// [`LoadError`].
pub async fn load(options: LoadOptions) -> Result<Verdict, LoadError> {
    Client::new(&options.url)?;
    let begun = Instant::now();
    let shared = Arc::new(Shared::new(options));
    let mut tasks = JoinSet::new();
    for _ in 0..shared.options.concurrency {
        let client = Client::new(&shared.options.url)?;
        tasks.spawn(send(shared.clone(), client));
    }
    for _ in 0..shared.options.concurrency.div_ceil(4) {
        let client = Client::new(&shared.options.url)?;
        tasks.spawn(watch(shared.clone(), client));
    }
    tasks.spawn(guard(shared.clone()));
    while tasks.join_next().await.is_some() {}
    shared.accepted_bar.finish_and_clear();
    shared.ended_bar.finish_and_clear();
    if shared.given_up.load(Ordering::Relaxed) {
        return Err(shared.stuck());
    }
    let tally = std::mem::take(&mut *shared.tally());
    Ok(Report::new(tally, shared.options.clone(), begun.elapsed()).print())
}

impl Shared {
    fn new(options: LoadOptions) -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let bars = MultiProgress::new();
        let bar = |name: &'static str| {
            let style =
                ProgressStyle::with_template("{msg:>9} {wide_bar} {human_pos:>7} of {human_len}  {per_sec}");
            let bar = bars.add(ProgressBar::new(options.orders).with_message(name));
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        };
        Self {
            run: format!("load-{:x}-{:x}", since_1970.as_nanos(), std::process::id()),
            next: AtomicU64::new(0),
            watched: Mutex::default(),
            tally: Mutex::default(),
            moved: Mutex::new((Instant::now(), "no request got an answer".to_owned())),
            given_up: AtomicBool::new(false),
            accepted_bar: bar("accepted"),
            ended_bar: bar("ended"),
            options,
        }
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watched(&self) -> MutexGuard<'_, VecDeque<Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first entry is the one that was asked about the longest ago, because all wait equally long.
    fn take_due(&self) -> Option<Watched> {
        let mut watched = self.watched();
        watched.front().filter(|first| first.ask_at <= Instant::now())?;
        watched.pop_front()
    }

    fn ask_again(&self, mut watched: Watched) {
        watched.ask_at = Instant::now() + ASK_AGAIN;
        self.watched().push_back(watched);
    }

    fn is_done(&self) -> bool {
        let tally = self.tally();
        self.given_up.load(Ordering::Relaxed) || tally.ended() + tally.refused >= self.options.orders
    }

    fn moved(&self) {
        self.moved.lock().unwrap_or_else(PoisonError::into_inner).0 = Instant::now();
    }

    fn stumbled(&self, over: String) {
        self.moved.lock().unwrap_or_else(PoisonError::into_inner).1 = over;
    }

    fn stuck(&self) -> LoadError {
        let tally = self.tally();
        LoadError::Stuck {
            patience: self.options.patience,
            accepted: tally.accepted,
            orders: self.options.orders,
            ended: tally.ended(),
            last: self
                .moved
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .1
                .clone(),
        }
    }
}

/// Gives up when nothing moves.
async fn guard(shared: Arc<Shared>) {
    while !shared.is_done() {
        let (moved, _) = *shared.moved.lock().unwrap_or_else(PoisonError::into_inner);
        if moved.elapsed() > shared.options.patience {
            shared.given_up.store(true, Ordering::Relaxed);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Sends one order after the other, each until it is accepted or refused for good.
async fn send(shared: Arc<Shared>, mut client: Client) {
    loop {
        let number = shared.next.fetch_add(1, Ordering::Relaxed);
        if number >= shared.options.orders {
            return;
        }
        let planned = Planned::new(&shared.run, number, shared.options.keys, shared.options.poison);
        let begun = Instant::now();
        let body = planned.body();
        loop {
            if shared.given_up.load(Ordering::Relaxed) {
                return;
            }
            let answer = client.post_json("/orders", &planned.key, body.clone()).await;
            match answer {
                Ok(answer) if answer.status == 202 => {
                    let Some(path) = answer.location else {
                        shared.tally().mistake(&planned.key, "202 without a Location");
                        break;
                    };
                    shared.tally().accept(begun.elapsed());
                    shared.accepted_bar.inc(1);
                    shared.moved();
                    shared.ask_again(Watched {
                        planned,
                        path,
                        ask_at: begun,
                        ended_at: None,
                    });
                    break;
                }
                Ok(answer) if answer.status < 500 && answer.status != 409 => {
                    let said = String::from_utf8_lossy(&answer.body).into_owned();
                    shared.tally().refuse(&planned.key, answer.status, &said);
                    break;
                }
                Ok(answer) => shared.stumbled(format!("POST /orders answers {}", answer.status)),
                Err(error) => shared.stumbled(error.to_string()),
            }
            shared.tally().resent += 1;
            tokio::time::sleep(TRY_AGAIN).await;
        }
    }
}

/// Asks for accepted orders until they have ended.
async fn watch(shared: Arc<Shared>, mut client: Client) {
    while !shared.is_done() {
        let Some(mut watched) = shared.take_due() else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        match client.get(&watched.path).await {
            Ok(answer) if answer.status == 200 => match serde_json::from_slice::<Told>(&answer.body) {
                Ok(told) if told.ended && !watched.may_be_behind(&told) => {
                    shared.tally().end(&told, &watched.planned);
                    shared.ended_bar.inc(1);
                    shared.moved();
                }
                Ok(told) => {
                    shared.stumbled(format!("{} is {}", watched.path, told.status));
                    shared.ask_again(watched);
                }
                Err(error) => {
                    shared.tally().lose(
                        &watched.planned.key,
                        &format!("its story cannot be read: {error}"),
                    );
                }
            },
            // The shop said that the order is kept, so it has to know it.
            Ok(answer) if answer.status == 404 => {
                shared
                    .tally()
                    .lose(&watched.planned.key, "it was accepted and is not known");
            }
            Ok(answer) => {
                shared.stumbled(format!("GET {} answers {}", watched.path, answer.status));
                shared.ask_again(watched);
            }
            Err(error) => {
                shared.stumbled(error.to_string());
                shared.ask_again(watched);
                tokio::time::sleep(TRY_AGAIN).await;
            }
        }
    }
}
