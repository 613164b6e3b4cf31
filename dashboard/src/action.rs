//! Everything a user can ask for, in one enum.
//!
//! Views only read the model and push actions. After the frame is drawn the app hands each action to the model or to
//! the layout, so nothing changes while it is being drawn.

use protocol::command::Delivery;
use protocol::group::MemberState;
use protocol::{CommandId, DeviceId, GroupId, SeriesId, Timestamp};
use serde_json::Value as Json;

use crate::model::Question;
use crate::model::chart_form::{ChartForm, ChartSettings};
use crate::model::exports::{ExportForm, ExportKind};
use crate::model::form::Field;
use crate::model::groups::Source;
use crate::model::hubs::HubEdit;
use crate::model::layouts::LayoutsEdit;
use crate::model::listing::ListOrder;
use crate::model::page::Fold;
use crate::model::table::{Format, TableFilter};
use crate::model::wire::WireEdit;
use crate::settings::{Number, ThemeChoice, Times};

/// One chart of the layout. Stable for as long as the chart exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct ChartId(pub u64);

/// Where a new chart goes, seen from an existing one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// To its right.
    Right,
    /// Below it.
    Below,
    /// Behind it, as a tab.
    Tab,
}

/// What a user asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    // Time: all charts share one axis.
    /// Show `factor` times as much time (below 1: zoom in), keeping `at` where it is on the screen.
    Zoom {
        /// The time under the pointer.
        at: Timestamp,
        /// How much more time is shown afterwards.
        factor: f64,
    },
    /// Move the view by this many microseconds; negative: back in time.
    Pan {
        /// By how much.
        micros: i64,
    },
    /// Show exactly this.
    ShowRange {
        /// Left edge.
        from: Timestamp,
        /// Right edge.
        to: Timestamp,
    },
    /// Show this many microseconds, up to now if the view is following.
    SetWidth {
        /// The width of the view.
        micros: i64,
    },
    /// Open the dialog in which a stretch of time is typed, or close it.
    ToggleRange,
    /// What was typed there.
    TypeRange {
        /// Whether it is the right edge.
        is_end: bool,
        /// What stands there now.
        text: String,
    },
    /// Show what was typed.
    ShowTyped,
    /// Follow what arrives.
    Follow,
    /// Stop where the view is. Data go on arriving.
    Pause,
    /// The view before this one.
    Back,
    /// The view after this one.
    Forward,
    /// The time under the pointer in any chart, shown in all of them.
    SetCursor(Option<Timestamp>),
    /// Keep a cursor at this time; a second one shows the difference, a third starts again.
    Pin(Timestamp),
    /// Set both pinned cursors, to measure what is between them.
    Measure {
        /// The one.
        from: Timestamp,
        /// The other.
        to: Timestamp,
    },
    /// Set the first pinned cursor, or the second, to the time under the pointer.
    Mark {
        /// Whether it is the second.
        second: bool,
    },
    /// Remove the pinned cursors.
    ClearPins,

    // Charts and their layout.
    /// A new chart of these series.
    AddChart {
        /// Title; made from the series if left out.
        title: Option<String>,
        /// What it shows.
        series: Vec<SeriesId>,
    },
    /// Show a series in an existing chart.
    AddToChart {
        /// The chart.
        chart: ChartId,
        /// The series.
        series: SeriesId,
    },
    /// Take a series out of a chart; the chart goes with its last one.
    RemoveFromChart {
        /// The chart.
        chart: ChartId,
        /// The series.
        series: SeriesId,
    },
    /// Another chart of the same series beside this one.
    SplitChart {
        /// The chart.
        chart: ChartId,
        /// Where the new one goes.
        place: Place,
    },
    /// One chart for each series of this one.
    SeparateSeries(ChartId),
    /// Close a chart.
    CloseChart(ChartId),
    /// Give a chart another title; empty: the title made from its series.
    RenameChart {
        /// The chart.
        chart: ChartId,
        /// The title.
        title: String,
    },
    /// Bring a chart to the front of its tabs.
    ShowChart(ChartId),
    /// Open the dialog for the axes and limits of a chart, change what is typed there, or close it.
    EditChart(Option<Box<ChartForm>>),
    /// Give a chart other axes and limits.
    SetChart {
        /// The chart.
        chart: ChartId,
        /// What it is to have.
        settings: Box<ChartSettings>,
    },
    /// Put a chart on the clipboard.
    CopyChart {
        /// The chart.
        chart: ChartId,
        /// As what.
        kind: ExportKind,
    },
    /// Open the dialog in which a chart or a wire is written to a file, change what is typed there, or close it.
    EditExport(Option<Box<ExportForm>>),
    /// Write the file that is typed there.
    WriteExport,
    /// Build the layout anew from what the fleet declares.
    ResetLayout,
    /// Take back the last change of the layout.
    UndoLayout,
    /// Make the change again that was taken back.
    RedoLayout,
    /// Open the dialog of the saved layouts, or close it.
    ToggleLayouts,
    /// What is typed and asked there.
    EditLayouts(LayoutsEdit),
    /// Save the charts under the name that is typed.
    SaveLayout,
    /// Show the layout of this name.
    OpenLayout(String),
    /// Give a layout the other name that is typed.
    RenameLayout,
    /// Forget the layout of this name.
    DeleteLayout(String),
    /// Write the charts to the file that is typed.
    ExportLayout,
    /// Read the file that is typed.
    ImportLayout,

    // Devices.
    /// Show this device's panel, or none.
    Select(Option<DeviceId>),
    /// Unfold or fold a part of that panel.
    FoldPage(Fold),
    /// Ask the hub again for the connections and the ledger of that device.
    RefreshPage,
    /// Watch the wire of a device, and show its panel.
    OpenWire(DeviceId),
    /// Close that panel, and watch no more.
    CloseWire,
    /// What is done in it.
    EditWire(WireEdit),
    /// Put the keyboard into its search.
    FocusWire,
    /// Ask again for groups, or for who would get one, where that could not be had.
    AskGroupsAgain,
    /// Show or hide a device's metrics in the list.
    ToggleExpanded(DeviceId),
    /// Show only devices that fit.
    SetFilter(String),
    /// Group and sort the list.
    SetListOrder(ListOrder),
    /// Hide or show the devices of a group of the list.
    FoldGroup(String),
    /// Show or hide the list.
    ToggleList,
    /// Put the keyboard into the filter of the list.
    FocusFilter,

    // Commands.
    /// Open the form of a command of the selected device, or close the open one.
    OpenForm(Option<String>),
    /// An argument in the open form. `None`: left out.
    SetArg {
        /// The parameter.
        name: String,
        /// The value as it will be sent.
        value: Option<Json>,
    },
    /// Open the form for a command that the selected device did not declare.
    OpenUndeclared,
    /// What was typed into a field of the open form.
    TypeText {
        /// Where.
        field: Field,
        /// What stands there now.
        text: String,
    },
    /// When the command of the open form is handed over, seen from those before it.
    SetDelivery(Delivery),
    /// Unfold or fold what few need in the open form.
    ToggleAdvanced,
    /// Send what the open form says, asking first where the device wants that.
    Submit,
    /// Yes, send it.
    Confirm,
    /// No, do not.
    Dismiss,
    /// Show the life of a command, or of none.
    ShowCommand(Option<CommandId>),
    /// Open the form of a command as it was sent before.
    Repeat(CommandId),
    /// Show or hide the table of all commands.
    ToggleTable,
    /// Another filter of the table.
    FilterTable(Box<TableFilter>),
    /// The end of the table is near, or is not any more: older commands are wanted there.
    TableEnd(bool),
    /// Search on in older commands, or try again.
    SearchOn,
    /// Put what the table shows on the clipboard.
    ExportTable(Format),
    /// Move the view to where a command was under way.
    ShowInCharts(CommandId),
    /// Take a command back.
    CancelCommand(CommandId),
    /// Ask the hub for older commands of the selected device.
    LoadOlderCommands,

    // Groups: commands to many devices.
    /// Show or hide the panel of groups.
    ToggleGroups,
    /// Show a group, or the newest.
    ShowGroup(Option<GroupId>),
    /// List only members in this state, or all.
    OnlyMembers(Option<MemberState>),
    /// Show the life of a member's command.
    ShowMember {
        /// The group.
        group: GroupId,
        /// The member.
        device: DeviceId,
        /// Its command.
        command: CommandId,
    },
    /// Add a device to the chosen ones or take it out; or add all up to it.
    Choose {
        /// The device.
        device: DeviceId,
        /// All between the last one and it.
        range: bool,
    },
    /// Choose none.
    ClearChosen,
    /// Open the form of a group.
    Compose(Source),
    /// Say the devices of the open form by patterns.
    ComposeByPatterns,
    /// The command of the open form.
    ChooseCommand(String),
    /// Whether only some devices get it at a time.
    SetRolling(bool),
    /// Close the form of a group.
    CloseComposer,
    /// Send the group, asking first.
    SubmitGroup,
    /// Yes, send it.
    ConfirmGroup,
    /// No, do not.
    DismissGroup,
    /// Ask a person.
    Ask(Question),
    /// What the person says.
    Answer(bool),

    // The window and the link.
    /// Open the dialog of the hubs, or close it.
    ToggleHubs,
    /// What is typed and asked there.
    EditHub(HubEdit),
    /// See whether the hub that is typed answers.
    TestHub,
    /// Remember the hub that is typed, and show it.
    ConnectHub,
    /// Show a hub that is remembered.
    UseHub(u32),
    /// Forget a hub and its token.
    ForgetHub(u32),
    /// Do not wait for the next try.
    ReconnectNow,
    /// Another palette.
    SetTheme(ThemeChoice),
    /// Open the settings, or close them.
    ToggleSettings,
    /// What was typed into a field of the settings.
    TypeSetting {
        /// The setting.
        number: Number,
        /// What stands there now.
        text: String,
    },
    /// Use what was typed, if it can be.
    UseSetting(Number),
    /// Use this number.
    SetNumber {
        /// The setting.
        number: Number,
        /// What it is from now on; what is out of range becomes the nearest that is not.
        value: u32,
    },
    /// Show times in this zone.
    SetTimes(Times),
    /// Show or hide how long readings take from the sensor to the screen.
    ToggleLatency,
    /// Show or hide the log of notices.
    ToggleLog,
    /// Forget what is in the log.
    ClearLog,
    /// Remove a toast.
    DismissToast(u64),
    /// Put a text on the clipboard.
    Copy(String),
    /// Show or hide the sheet of shortcuts.
    ToggleHelp,
    /// Open the command palette, or close it.
    TogglePalette,
    /// What was typed into the palette.
    TypePalette(String),
    /// Go to this row of what the palette found.
    PointPalette(usize),
}
