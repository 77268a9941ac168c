//! Publishing to real RabbitMQs.

mod faults;
mod order;
mod publishing;
mod refused;
mod returns;
mod secured;
mod support;
