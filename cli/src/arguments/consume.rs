//! `rivven consume`.

use std::collections::BTreeMap;

use clap::Args;

use super::cluster::ConnectionArguments;
use super::topic::topic_name;
use crate::format::Format;

pub(crate) const CONSUME_EXAMPLES: &str = "\
It begins with the first record and ends where the topic ended when it began; --follow goes on with
what is written then. With a group it begins where the group has committed, shares the partitions
with the group's other members, commits what it has printed, and leaves the group at its end.

In JSON, bytes that are no UTF-8 stand in base64 under another name: key_base64, value_base64.
A template may have %t topic, %p partition, %o offset, %T timestamp in ms, %k key, %v value, %K and
%V their lengths (-1: none), %h headers, %%, \\n \\r \\t \\0 \\xHH.

Examples:
  rivven consume orders
  rivven consume orders --follow --offset latest
  rivven consume orders --offset -10 --partition 3
  rivven consume orders --offset 0:4711 --offset 1:latest --max 100
  rivven consume orders --group billing --follow --json | jq .value
  rivven consume orders --format '%T %p/%o %k: %v\\n'";

/// `rivven consume`.
#[derive(Debug, Args)]
pub(crate) struct ConsumeArguments {
    /// What to read.
    #[arg(required = true, value_name = "TOPIC", value_parser = topic_name)]
    pub(crate) topics: Vec<String>,
    /// Goes on with what is written from now on.
    #[arg(short = 'f', long)]
    pub(crate) follow: bool,
    /// Begins with the first record, as without it.
    ///
    /// A group does so where it has committed nothing.
    #[arg(long, conflicts_with = "offsets")]
    pub(crate) from_beginning: bool,
    /// Where to begin: an offset, earliest, latest, or -N.
    ///
    /// -N means the last N records of each partition. With a partition's number before it, it
    /// counts for that partition only, and may be given several times. An offset for all
    /// partitions is moved to the nearest that each one has.
    #[arg(short = 'o', long = "offset", value_name = "[N:]OFFSET", value_parser = start)]
    #[arg(allow_hyphen_values = true)]
    pub(crate) offsets: Vec<(Option<i32>, Start)>,
    /// Only this partition; may be given several times.
    #[arg(short = 'p', long = "partition", value_name = "N", conflicts_with = "group")]
    #[arg(value_parser = clap::value_parser!(i32).range(0..))]
    pub(crate) partitions: Vec<i32>,
    /// Reads as a member of this group.
    #[arg(short = 'g', long, value_name = "GROUP", value_parser = group)]
    pub(crate) group: Option<String>,
    /// Ends after so many records.
    #[arg(short = 'm', long, value_name = "N")]
    pub(crate) max: Option<u64>,
    /// text, json, or a template such as '%k %v\n'.
    ///
    /// text is the value and an end of line, json one object a line.
    #[arg(long, value_name = "FORMAT", default_value = "text", conflicts_with = "json")]
    pub(crate) format: Format,
    /// Of earlier releases; it waits for records without asking again.
    #[arg(long, hide = true)]
    pub(crate) poll_interval: Option<u64>,
    #[command(flatten)]
    pub(crate) connection: ConnectionArguments,
}

/// Where a partition begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    Earliest,
    Latest,
    At(i64),
    /// So many records before the end.
    Last(i64),
}

impl ConsumeArguments {
    pub(crate) fn format(&self) -> Format {
        if self.connection.json { Format::Json } else { self.format.clone() }
    }

    /// # Errors
    /// What cannot be said of one partition twice, or of a group.
    pub(crate) fn starts(&self) -> Result<Starts, String> {
        let mut starts = Starts { others: Start::Earliest, partitions: BTreeMap::new() };
        let mut has_others = false;
        for (partition, start) in &self.offsets {
            let is_first = match partition {
                Some(partition) => starts.partitions.insert(*partition, *start).is_none(),
                None => {
                    starts.others = *start;
                    !std::mem::replace(&mut has_others, true)
                }
            };
            if !is_first {
                return Err("--offset says twice where to begin".to_owned());
            }
        }
        let is_place = matches!(starts.others, Start::Earliest | Start::Latest);
        if self.group.is_some() && !(is_place && starts.partitions.is_empty()) {
            return Err(
                "a group begins at its committed offsets, where it has none at earliest or \
                        latest; `rivven group reset-offsets` moves it elsewhere"
                    .to_owned(),
            );
        }
        if self.topics.len() > 1 && !(starts.partitions.is_empty() && self.partitions.is_empty()) {
            return Err("partitions can be named for one topic at a time".to_owned());
        }
        let is_left_out =
            |index: &&i32| !self.partitions.is_empty() && !self.partitions.contains(index);
        if let Some(index) = starts.partitions.keys().find(is_left_out) {
            return Err(format!("--offset names partition {index}, which --partition leaves out"));
        }
        Ok(starts)
    }
}

/// Where each partition begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Starts {
    pub(crate) others: Start,
    pub(crate) partitions: BTreeMap<i32, Start>,
}

impl Starts {
    pub(crate) fn of(&self, partition: i32) -> Start {
        self.partitions.get(&partition).copied().unwrap_or(self.others)
    }
}

fn start(text: &str) -> Result<(Option<i32>, Start), String> {
    let wrong = || {
        "write an offset, earliest, latest or -N, such as 4711, -10 or, for partition 3, 3:latest"
            .to_owned()
    };
    let (partition, place) = match text.split_once(':') {
        Some((partition, place)) => {
            let partition = partition.parse().ok().filter(|partition: &i32| *partition >= 0);
            (Some(partition.ok_or_else(wrong)?), place)
        }
        None => (None, text),
    };
    let start = match place {
        "earliest" | "beginning" | "start" => Start::Earliest,
        "latest" | "end" => Start::Latest,
        _ => match place.parse::<i64>().map_err(|_| wrong())? {
            offset if offset >= 0 && !place.starts_with('-') => Start::At(offset),
            count => Start::Last(count.checked_neg().ok_or_else(wrong)?),
        },
    };
    Ok((partition, start))
}

fn group(text: &str) -> Result<String, String> {
    match text {
        "" => Err("a group has a name".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Only {
        #[command(flatten)]
        consume: ConsumeArguments,
    }

    fn starts(arguments: &[&str]) -> Result<Starts, String> {
        let arguments = [&["consume", "orders"], arguments].concat();
        Only::try_parse_from(arguments).map_err(|error| error.to_string())?.consume.starts()
    }

    #[test]
    fn places_to_begin_are_read() {
        for (text, wanted) in [
            ("4711", (None, Start::At(4711))),
            ("0:earliest", (Some(0), Start::Earliest)),
            ("3:-5", (Some(3), Start::Last(5))),
            ("-0", (None, Start::Last(0))),
            ("end", (None, Start::Latest)),
        ] {
            assert_eq!(start(text), Ok(wanted), "{text}");
        }
        for text in ["", "x", "1:", ":1", "-1:5", "99999999999:5", "-9223372036854775808"] {
            assert!(start(text).is_err(), "{text}");
        }
    }

    #[test]
    fn partitions_may_begin_at_places_of_their_own() {
        let both = starts(&["-o", "-10", "--offset", "1:latest"]).expect("places");
        assert_eq!((both.of(0), both.of(1)), (Start::Last(10), Start::Latest));
        assert_eq!(starts(&[]).expect("a place").of(5), Start::Earliest);
        for (arguments, wanted) in [
            (&["-o", "1", "-o", "2"][..], "twice"),
            (&["-o", "1:1", "-o", "1:2"], "twice"),
            (&["-o", "1:5", "-p", "0"], "partition 1, which --partition leaves out"),
            (&["-g", "g", "-o", "5"], "committed offsets"),
            (&["-g", "g", "-o", "1:latest"], "committed offsets"),
            (&["more", "-p", "1"], "one topic"),
            (&["-g", "g", "-p", "1"], "cannot be used"),
            (&["-o", "1", "--from-beginning"], "cannot be used"),
            (&["--format", "%q"], "stands for nothing"),
            (&["--format", "json", "--json"], "cannot be used"),
        ] {
            let error = starts(arguments).expect_err("refused");
            assert!(error.contains(wanted), "{arguments:?}: {error}");
        }
    }
}
