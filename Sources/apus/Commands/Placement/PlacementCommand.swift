import ArgumentParser
import Cluster
import Foundation
import Topology

/// Where the experts of a job are, and where they had better be.
struct PlacementCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "placement",
        abstract: "Shows how evenly tokens lie on the ranks of a job, and places experts anew.",
        discussion: """
            A job that serves counts which experts its gates choose; older tokens count less, with \
            a half life of a minute. what-if computes what EPLB would do with as many copies as \
            the job has (by node where groups of experts divide over nodes, else globally), and \
            how tokens are dealt between copies. apply does it, also while ranks are lost: ranks \
            read what comes to them while they serve, then change over between two steps. No text \
            changes. --max-moves bounds how many experts are read, those first that buy most. A \
            job named by its coordinator needs its secret in APUS_TOKEN or in the file that \
            APUS_TOKEN_FILE names. Exits with \
            2 when there is no such job or it cannot do what is asked, with 3 when it does not \
            answer in time.

              apus placement show
              apus placement what-if tale --max-moves 20
              apus placement apply tale --max-moves 20
              apus placement show tale --save loads.json
              apus placement what-if --load loads.json
            """,
        subcommands: [Show.self, WhatIf.self, Apply.self])

    /// Which job, which group of it, and loads instead of those measured.
    struct Target: ParsableArguments {
        @Argument(help: "A job's file, name or folder; default the only job that runs.")
        var job: String?
        @Option(help: "A coordinator's address:port, for a job of another machine.")
        var coordinator: String?
        @Option(help: "The group's name, where the job has several.") var group: String?
        @Flag(help: "Print one JSON object.") var json = false

        func validate() throws {
            if job != nil, coordinator != nil {
                throw ValidationError("a job and --coordinator: one says which job")
            }
        }

        func link() throws -> ControlLink {
            try JobPlacement.link(to: job, coordinator: coordinator)
        }
    }

    /// How a better placement is chosen.
    struct Choice: ParsableArguments {
        @Option(help: "Experts of one layer that some rank reads, at most; default no limit.")
        var maxMoves: Int?
        @Option(help: "A file of --save: its loads instead of those measured.") var load: String?

        func validate() throws {
            if let maxMoves, maxMoves < 0 {
                throw ValidationError("--max-moves \(maxMoves) is less than 0")
            }
        }

        func rebalancing(of group: PlacementReport.Group) throws -> Rebalancing {
            let present = try group.livingPlacements()
            guard let maxMoves else {
                return try present.whole(
                    .balanced(
                        from: present.placements, loads: group.loads, slots: present.slots,
                        nodes: group.nodePacking()))
            }
            return try present.whole(
                .bounded(
                    from: present.placements, loads: group.loads, slots: present.slots,
                    maximumMoves: maxMoves, nodes: group.nodePacking()))
        }
    }

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Shows the load of each rank, and max over mean of each layer.")

        @OptionGroup var target: Target
        @Option(help: "Write loads and placements to this file too.") var save: String?

        func run() throws {
            try reporting {
                let link = try target.link()
                defer { link.close() }
                let report = try link.placement(limit: patience)
                let group = try report.group(target.group)
                if let save { try PlacementFile(report).write(to: save) }
                if target.json {
                    try printObject(group.element)
                } else {
                    print(try PlacementText.lines(of: group.element).joined(separator: "\n"))
                }
            }
        }
    }

    struct WhatIf: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "what-if",
            abstract: "Prints what a better placement would bring, and the moves to it.",
            discussion: """
                With --load and no job the placements of the file are taken too, and no job is \
                asked.
                """)

        @OptionGroup var target: Target
        @OptionGroup var choice: Choice

        func run() throws {
            try reporting {
                let (_, group) = try presentGroup(target, choice)
                let better = try choice.rebalancing(of: group)
                let policy = try group.policy()
                if target.json {
                    try printObject(PlacementText.Outcome(better, policy: policy))
                } else {
                    let lines = PlacementText.lines(of: better, isBounded: choice.maxMoves != nil)
                    print((lines + [policy]).joined(separator: "\n"))
                }
            }
        }
    }

    struct Apply: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Places the experts of a job anew while it serves, and waits for it.")

        @OptionGroup var target: Target
        @OptionGroup var choice: Choice
        @Option(help: "Seconds for the ranks to read and change over.") var seconds = 600.0

        func validate() throws {
            if !(seconds > 0 && seconds <= 86400) {
                throw ValidationError("--seconds \(seconds) is not above 0 and at most 86400")
            }
        }

        func run() throws {
            try reporting {
                let link = try target.link()
                defer { link.close() }
                let (number, present) = try link.placement(limit: patience).group(target.group)
                let group =
                    try choice.load.map { try PlacementFile.read($0).loads(for: present) }
                    ?? present
                let better = try choice.rebalancing(of: group)
                let policy = try group.policy()
                let outcome = PlacementText.Outcome(better, policy: policy)
                if better.placements == group.placements {
                    if target.json { return try printObject(outcome) }
                    return print("nothing to move: max/mean is \(better.before.ratioText)")
                }
                let begun = try link.place(
                    PlacementRequest(
                        group: number, epoch: present.epoch, placements: better.placements),
                    limit: patience)
                guard let epoch = begun.groups[number].preparing else {
                    throw ClusterError.badInput("the job did not begin to place experts anew")
                }
                try wait(for: better.placements, epoch, number, link)
                if target.json { return try printObject(outcome) }
                print(
                    "epoch \(epoch): \(better.moves.count) experts moved, max/mean"
                        + " \(better.before.ratioText) to \(better.after.ratioText),"
                        + " \(policy)")
            }
        }

        private func wait(
            for placements: [ExpertPlacement], _ epoch: UInt64, _ number: Int,
            _ link: ControlLink
        ) throws {
            let limit = ContinuousClock.now + .seconds(seconds)
            while .now < limit {
                let group = try link.placement(limit: patience).groups[number]
                if let dropped = group.dropped, dropped.epoch == epoch {
                    throw ClusterError.badInput(
                        "epoch \(epoch) did not come: \(dropped.reason)")
                }
                guard group.preparing == epoch else {
                    if group.placements == placements { return }
                    throw ClusterError.badInput("epoch \(epoch) did not stay: another followed")
                }
                Thread.sleep(forTimeInterval: 0.1)
            }
            throw ClusterError.deadline(
                "epoch \(epoch) has not begun after \(seconds) s; ranks still read for it: apus"
                    + " placement show tells when it has")
        }
    }
}

/// For a coordinator to answer.
private let patience = Duration.seconds(10)

/// The group that is meant, as it is in the job or in a file, with the loads to go by.
private func presentGroup(
    _ target: PlacementCommand.Target, _ choice: PlacementCommand.Choice
) throws -> (number: Int, group: PlacementReport.Group) {
    let file = try choice.load.map { try PlacementFile.read($0) }
    if let file, target.job == nil, target.coordinator == nil {
        let found = try file.report.group(target.group)
        return (found.offset, found.element)
    }
    let link = try target.link()
    defer { link.close() }
    let found = try link.placement(limit: patience).group(target.group)
    return (found.offset, try file?.loads(for: found.element) ?? found.element)
}

extension PlacementReport.Group {
    /// Which policy the ranks that live are balanced by, and why.
    fileprivate func policy() throws -> String {
        nodePacking().policy(slots: try livingPlacements().slots)
    }
}

extension PlacementReport {
    /// The group with a name, or the only one.
    fileprivate func group(_ name: String?) throws -> (offset: Int, element: Group) {
        let found = groups.enumerated().filter { name == nil || $0.element.name == name }
        guard let first = found.first, found.count == 1 else {
            let names = groups.map(\.name).joined(separator: ", ")
            throw ClusterError.badInput(
                groups.isEmpty
                    ? "the job shares no experts: it trains"
                    : name.map { "group \($0) is not one of \(names)" }
                        ?? "the job has groups (\(names)): --group says which")
        }
        return first
    }
}
