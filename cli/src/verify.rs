//! `rivven log verify`: runs the verification of the core, with a bar, and prints its report.

use console::{Style, measure_text_width, style};
use indicatif::{ProgressBar, ProgressStyle};
use rivven_core::storage::verify::{Finding, Severity, VerifyProgress, VerifyReport, verify};
use rivven_io::Env;

use crate::arguments::VerifyArguments;
use crate::output::Output;
use crate::table::printable;
use crate::{CommandError, Outcome};

pub(crate) async fn run(
    env: &Env,
    arguments: &VerifyArguments,
    output: &mut Output<'_>,
) -> Result<Outcome, CommandError> {
    let bar = bar(output.is_json());
    let mut on_progress = |progress: VerifyProgress| {
        bar.set_length(progress.total_bytes);
        bar.set_position(progress.done_bytes);
    };
    let report = verify(env, &arguments.data_dir, &mut on_progress).await;
    bar.finish_and_clear();
    let report = report.map_err(|error| CommandError::CannotOpen(error.to_string()))?;
    output.item(|| serde_json::json!(report), || text(&report))?;
    Ok(if report.ok { Outcome::Clean } else { Outcome::Findings })
}

/// It draws on stderr, and nothing where that is no terminal.
fn bar(is_hidden: bool) -> ProgressBar {
    if is_hidden {
        return ProgressBar::hidden();
    }
    let template = "verifying {wide_bar} {bytes}/{total_bytes}, {eta} left";
    let style = ProgressStyle::with_template(template).expect("the template is well formed");
    ProgressBar::new(0).with_style(style)
}

fn text(report: &VerifyReport) -> String {
    let mut lines = Vec::new();
    if !report.cluster_id.is_empty() {
        let cluster = printable(&report.cluster_id);
        lines.push(format!("cluster {cluster}, node {}", report.node_id));
    }
    lines.push(format!(
        "{} partitions, {} segments, {} batches, {} records, {} bytes",
        report.partitions, report.segments, report.batches, report.records, report.bytes
    ));
    lines.push(format!(
        "{} commits in the WAL after the checkpoint, the last one is {}",
        report.wal.commits, report.wal.end_lsn
    ));
    lines.extend(table(&report.findings));
    if report.findings_left_out > 0 {
        lines.push(format!("and {} more", report.findings_left_out));
    }
    let count = |severity| report.findings.iter().filter(|f| f.severity == severity).count();
    let rest = format!("{} warnings, {} notes", count(Severity::Warning), count(Severity::Note));
    lines.push(if report.ok {
        format!("{}: nothing is damaged; {rest}", style("ok").green().bold())
    } else {
        let errors = count(Severity::Error);
        format!("{}: {errors} errors, {rest}", style("damaged").red().bold())
    });
    lines.join("\n")
}

/// One row a finding, in columns as wide as they must be.
fn table(findings: &[Finding]) -> Vec<String> {
    if findings.is_empty() {
        return Vec::new();
    }
    let number = |number: Option<String>| number.unwrap_or_else(|| "-".to_owned());
    let head = ["", "where", "offset", "position", "what"].map(str::to_owned);
    let rows = findings.iter().map(|finding| {
        let severity = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        [
            severity.to_owned(),
            printable(&finding.path),
            number(finding.offset.map(|offset| offset.to_string())),
            number(finding.position.map(|position| position.to_string())),
            printable(&finding.what),
        ]
    });
    let rows: Vec<[String; 5]> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| {
        rows.iter().map(|row| measure_text_width(&row[column])).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..4).map(width).collect();
    let line = |row: &[String; 5]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        let line = cells.chain([row[4].clone()]).collect::<Vec<_>>().join("  ");
        colour(&row[0]).apply_to(line).to_string()
    };
    rows.iter().map(line).collect()
}

fn colour(severity: &str) -> Style {
    match severity {
        "error" => Style::new().red(),
        "warning" => Style::new().yellow(),
        "note" => Style::new().dim(),
        _ => Style::new().bold(),
    }
}
