//! Campaigns that are short enough for every change, and the proof that the checker would notice.

mod campaigns;
mod plants;
mod program;
