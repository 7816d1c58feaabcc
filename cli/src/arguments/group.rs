//! `rivven group`.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::cluster::ConnectionArguments;
use super::topic::topic_name;
use crate::time::{parse_datetime, parse_duration};

#[derive(Debug, Subcommand)]
pub(crate) enum GroupCommand {
    /// Lists the groups.
    #[command(visible_alias = "ls")]
    List(ListArguments),
    /// Shows members of groups, committed offsets and lag.
    Describe(DescribeArguments),
    /// Moves the committed offsets of a group whose members are stopped.
    #[command(after_long_help = RESET_EXAMPLES)]
    ResetOffsets(ResetArguments),
    /// Deletes groups without members, and what they have committed.
    #[command(visible_alias = "rm")]
    Delete(DeleteArguments),
}

/// `rivven group list`.
#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    #[command(flatten)]
    pub(crate) connection: ConnectionArguments,
}

/// `rivven group describe`.
#[derive(Debug, Args)]
pub(crate) struct DescribeArguments {
    /// One or more names.
    #[arg(required = true, value_name = "GROUP")]
    pub(crate) groups: Vec<String>,
    #[command(flatten)]
    pub(crate) connection: ConnectionArguments,
}

/// `rivven group delete`.
#[derive(Debug, Args)]
pub(crate) struct DeleteArguments {
    /// One or more names.
    #[arg(required = true, value_name = "GROUP")]
    pub(crate) groups: Vec<String>,
    #[command(flatten)]
    pub(crate) connection: ConnectionArguments,
}

const RESET_EXAMPLES: &str = "\
Shows what would change; only with --execute is anything changed. A target before the log start or
behind the end becomes the log start or the end.

Examples:
  rivven group reset-offsets billing --to-earliest
  rivven group reset-offsets billing --topic orders:0,3 --to-offset 4711 --execute
  rivven group reset-offsets billing --topic orders --to-datetime 2026-07-01T12:00:00Z
  rivven group reset-offsets billing --shift-by -100
  rivven group reset-offsets billing --by-duration 2h --execute";

/// `rivven group reset-offsets`.
#[derive(Debug, Args)]
pub(crate) struct ResetArguments {
    /// Its name.
    pub(crate) group: String,
    /// A topic, or some of its partitions; may be given several times.
    ///
    /// Without it: every topic for which the group has committed.
    #[arg(long = "topic", value_name = "TOPIC[:N,N...]", value_parser = selection)]
    pub(crate) topics: Vec<Selection>,
    #[command(flatten)]
    pub(crate) target: ResetTarget,
    /// Do it.
    #[arg(long)]
    pub(crate) execute: bool,
    /// Only show what would change, which is what happens without --execute.
    #[arg(long, conflicts_with = "execute")]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) connection: ConnectionArguments,
}

/// Where to.
#[derive(Clone, Copy, Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct ResetTarget {
    /// To the log start.
    #[arg(long)]
    pub(crate) to_earliest: bool,
    /// To the end: what is there now is skipped.
    #[arg(long)]
    pub(crate) to_latest: bool,
    /// To this offset.
    #[arg(long, value_name = "OFFSET", value_parser = clap::value_parser!(i64).range(0..))]
    pub(crate) to_offset: Option<i64>,
    /// To the first record that is not older.
    #[arg(long, value_name = "TIME", value_parser = parse_datetime)]
    pub(crate) to_datetime: Option<i64>,
    /// By so many offsets, back if negative.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) shift_by: Option<i64>,
    /// To the first record that is not older than so long ago.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) by_duration: Option<Duration>,
}

/// A topic, or some of its partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Selection {
    pub(crate) topic: String,
    /// None: all of them.
    pub(crate) partitions: Option<Vec<i32>>,
}

impl GroupCommand {
    pub(crate) fn connection(&self) -> &ConnectionArguments {
        match self {
            GroupCommand::List(arguments) => &arguments.connection,
            GroupCommand::Describe(arguments) => &arguments.connection,
            GroupCommand::ResetOffsets(arguments) => &arguments.connection,
            GroupCommand::Delete(arguments) => &arguments.connection,
        }
    }
}

fn selection(text: &str) -> Result<Selection, String> {
    let Some((topic, partitions)) = text.split_once(':') else {
        return Ok(Selection { topic: topic_name(text)?, partitions: None });
    };
    let number = |text: &str| {
        let number = text.trim().parse().ok().filter(|number| *number >= 0);
        number.ok_or_else(|| format!("{text:?} is no partition; write orders:0,3"))
    };
    let partitions = partitions.split(',').map(number).collect::<Result<_, String>>()?;
    Ok(Selection { topic: topic_name(topic)?, partitions: Some(partitions) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_of_a_topic_can_be_named() {
        let some = |partitions: &[i32]| Some(partitions.to_vec());
        for (text, topic, partitions) in
            [("a.b", "a.b", None), ("a:0", "a", some(&[0])), ("a:3, 1", "a", some(&[3, 1]))]
        {
            let wanted = Selection { topic: topic.to_owned(), partitions };
            assert_eq!(selection(text), Ok(wanted), "{text}");
        }
        for text in ["", "a:", "a:x", "a:-1", "a b", "a:1,", ":1"] {
            assert!(selection(text).is_err(), "{text}");
        }
    }
}
