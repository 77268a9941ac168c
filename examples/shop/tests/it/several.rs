//! The shop as several processes on one broker: each service in its own, two of payment, and one of those killed.

use crate::killed::orders_on;
use crate::process::{Process, until, until_open};
use std::process::{Child, Command, Stdio};

pub(crate) const ORDERS: u64 = 300;

/// A load that sends orders to the shop.
pub(crate) fn load(url: &str) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shop"));
    command.args(["load", "--keys", "50", "--concurrency", "16", "--poison", "0.02"]);
    command.args(["--patience", "60", "--orders", &ORDERS.to_string(), "--url", url]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// That every order was accepted and ended as it should.
pub(crate) fn holds(load: Child) {
    let ended = load.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&ended.stdout);
    let wrong = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{told}{wrong}");
    assert!(
        told.contains(&format!("accepted {ORDERS} = completed ")),
        "{told}"
    );
}

/// All processes of a shop.
pub(crate) struct Several {
    order: Process,
    others: Vec<Process>,
    killed: Process,
    left: Process,
}

impl Several {
    /// Starts them all; the instance that will be killed has begun to read before the other one of its service.
    pub(crate) async fn start(start: impl Fn(&[&str]) -> Process, has_begun: impl AsyncFnOnce()) -> Self {
        let order = start(&["order"]);
        let killed = start(&["payment"]);
        let others: [&[&str]; 4] = [
            &["inventory"],
            &["shipping"],
            &["billing"],
            &["notification", "analytics"],
        ];
        let others = others.into_iter().map(&start).collect();
        has_begun().await;
        let left = start(&["payment"]);
        Self {
            order,
            others,
            killed,
            left,
        }
    }

    /// Orders while one of two instances of payment is killed. The shop knows of so many orders before; payment gets that many
    /// members.
    pub(crate) async fn tally_holds(self, before: u64, members: impl AsyncFn(usize)) {
        let mut client = self.order.client();
        until_open(&mut client).await;
        until(&mut client, "/", |answer| orders_on(&answer.body) == before).await;
        members(2).await;
        let load = load(&self.order.url);
        let mut placed = async |share: u64| {
            until(&mut client, "/", |answer| {
                orders_on(&answer.body) >= before + ORDERS * share / 3
            })
            .await;
        };
        placed(1).await;
        // What it is handed from now on goes with it.
        self.killed.freeze();
        placed(2).await;
        self.killed.kill();
        tokio::task::block_in_place(|| holds(load));
        members(1).await;
        for process in self.others.into_iter().chain([self.left, self.order]) {
            assert!(process.terminate().success());
        }
    }
}
