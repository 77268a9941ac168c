//! A value that can't be sent to another thread is kept across an await.
extern crate tidings_core as tidings;

use std::rc::Rc;
use tidings::Raw;
use tidings_macros::handler;

#[handler]
async fn count(_payload: Raw) {
    let counted = Rc::new(1);
    std::future::ready(()).await;
    drop(counted);
}

fn main() {}
