//! What `#[derive(Event)]` says of `#[event(…)]`.
extern crate tidings_core as tidings;

use serde::Serialize;
use tidings_macros::Event;

const NAME: &str = "order.placed";

#[derive(Event, Serialize)]
#[event(nmae = "order.placed")]
struct MisspeltKey;

#[derive(Event, Serialize)]
#[event(topic = "orders")]
struct UnknownKey;

#[derive(Event, Serialize)]
#[event(name = "a", version = 2)]
#[event(name = "b")]
struct NamedTwice;

#[derive(Event, Serialize)]
#[event(name = NAME)]
struct NamedByAConstant;

#[derive(Event, Serialize)]
#[event(name = order.placed)]
struct NamedWithoutQuotes;

#[derive(Event, Serialize)]
#[event(name = "")]
struct EmptyName;

#[derive(Event, Serialize)]
#[event(name = "order\nplaced")]
struct NameOfTwoLines;

#[derive(Event, Serialize)]
#[event(name = " order.placed")]
struct NameBeginsWithASpace;

#[derive(Event, Serialize)]
#[event(version = 0)]
struct VersionZero;

#[derive(Event, Serialize)]
#[event(version = "2")]
struct VersionInQuotes;

#[derive(Event, Serialize)]
#[event(version = 4294967296)]
struct VersionTooLarge;

#[derive(Event, Serialize)]
#[event(key)]
struct KeyOfNothing;

#[derive(Event, Serialize)]
#[event]
struct NoList;

#[derive(Event, Serialize)]
#[event(codec = "Json Codec")]
struct CodecIsNoType;

#[derive(Event, Serialize)]
#[event(crate = "tidings core")]
struct CrateIsNoPath;

#[derive(Event, Serialize)]
struct KeyOnTheField {
    #[event(key)]
    order_id: String,
}

fn main() {}
