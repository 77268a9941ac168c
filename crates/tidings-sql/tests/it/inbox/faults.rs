//! Databases and processes that die.

use super::*;
