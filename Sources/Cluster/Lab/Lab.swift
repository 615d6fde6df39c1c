import Foundation
import Glibc
public import Topology

/// Builds and removes a lab: nodes as network namespaces on this machine.
///
/// Invariants:
/// 1. A lab is written down (`LabRecords`) before its first namespace is made.
/// 2. A namespace is removed only if it carries the mark that was written down, or carries nothing
///    at all: what a build leaves that was killed between making and marking it.
public struct Lab: Sendable {
    /// The lab's written state.
    public private(set) var state: LabState
    private let records: LabRecords

    init(state: LabState, records: LabRecords) {
        self.state = state
        self.records = records
    }

    /// Builds a lab.
    ///
    /// What earlier processes left of this and other labs when they were killed is removed first.
    ///
    /// - Parameter isTemporary: The lab goes with this process; `apus lab up` says false.
    /// - Throws: `ClusterError.notOurs` when the lab is up, or a namespace of its names exists.
    public static func up(_ map: NodeMap, isTemporary: Bool) throws(ClusterError) -> Lab {
        try requireRoot()
        let records = LabRecords()
        if let old = try records.read(map.name) {
            guard old.isAbandoned else {
                throw .notOurs(
                    "lab \(map.name) is up, built by process \(old.owner.pid):"
                        + " remove it with apus lab down")
            }
            try Lab(state: old, records: records).down()
        }
        removeAbandoned()
        let mark = "apus-lab-" + randomWord()
        let state = LabState(
            map: map, mark: mark, owner: .current, isTemporary: isTemporary, isComplete: false)
        let taken = try existing()
        if let other = state.plan.namespaces.first(where: taken.contains) {
            throw .notOurs("namespace \(other) exists and was not made by apus lab")
        }
        try records.claim(state)
        var lab = Lab(state: state, records: records)
        do {
            for command in state.plan.building { try command.run() }
        } catch {
            try lab.down()
            throw error
        }
        lab.state.isComplete = true
        try records.update(lab.state)
        return lab
    }

    /// Cuts every link of a rank's node, as an unplugged cable does, or joins them again.
    ///
    /// - Throws: `ClusterError.command` if the system refuses.
    public func cut(_ rank: Rank, _ isCut: Bool) throws(ClusterError) {
        for command in state.plan.cutting(state.map.node(of: rank), isCut) { try command.run() }
    }

    /// A lab that is up, or nil.
    ///
    /// - Throws: `ClusterError.badInput` when it was built from another description.
    public static func find(_ map: NodeMap) throws(ClusterError) -> Lab? {
        let records = LabRecords()
        guard let state = try records.read(map.name), !state.isAbandoned else { return nil }
        guard state.isComplete else {
            throw .notOurs("lab \(map.name) is being built by process \(state.owner.pid)")
        }
        guard state.map == map else {
            throw .badInput("lab \(map.name) is up with another topology: take it down first")
        }
        return Lab(state: state, records: records)
    }

    /// Removes what is written down about a lab of this name, by any builder.
    ///
    /// - Returns: False when there was nothing to remove.
    @discardableResult
    public static func remove(named name: String) throws(ClusterError) -> Bool {
        try requireRoot()
        let records = LabRecords()
        guard let state = try records.read(name) else { return false }
        try Lab(state: state, records: records).down()
        return true
    }

    /// Ends every process inside the lab and removes its namespaces, and with them all devices.
    ///
    /// - Throws: `ClusterError.notOurs` when a namespace of its names carries another mark;
    ///   nothing is removed then.
    public func down() throws(ClusterError) {
        let taken = try Self.existing()
        let mine = state.plan.namespaces.filter(taken.contains)
        for name in mine where try !isOurs(name) {
            throw .notOurs("namespace \(name) does not carry the mark of lab \(state.map.name)")
        }
        try endProcesses(in: mine)
        for name in mine { try Command("ip", "netns", "del", name).run() }
        try records.forget(state.map.name)
    }

    /// Invariant 2.
    private func isOurs(_ namespace: String) throws(ClusterError) -> Bool {
        let links = try Command("ip", "-n", namespace, "-o", "link", "show").run()
            .split(separator: "\n")
        if links.contains(where: { $0.contains(": lo:") && $0.contains(state.mark) }) {
            return true
        }
        // The kernel gives a new namespace a lo that is down, and sometimes tunnel stubs.
        let isUntouched = links.allSatisfy { !$0.contains(",UP") && !$0.contains("alias") }
        return isUntouched && !state.isComplete
    }

    /// Ends the processes of namespaces by `EndingRule`; a third of its limit is its patience.
    private func endProcesses(in namespaces: [String]) throws(ClusterError) {
        // Each count runs a command per namespace.
        let rule = EndingRule(limit: EndingRule.patience * 3, pause: .milliseconds(50))
        let left = try rule.end { number throws(ClusterError) in
            var left = 0
            for name in namespaces {
                for pid in try Command("ip", "netns", "pids", name).run()
                    .split(separator: "\n").compactMap({ Int32($0) })
                {
                    left += 1
                    if let number { kill(pid, number) }
                }
            }
            return left
        }
        guard left == 0 else {
            throw .command("\(left) processes in lab \(state.map.name) do not end")
        }
    }

    private static func existing() throws(ClusterError) -> Set<String> {
        // `ip netns list` prints a name and sometimes " (id: 3)".
        Set(
            try Command("ip", "netns", "list").run().split(separator: "\n")
                .compactMap { $0.split(separator: " ").first.map(String.init) })
    }

    private static func requireRoot() throws(ClusterError) {
        guard geteuid() == 0 else {
            throw .badInput("network namespaces need root: user id is \(geteuid())")
        }
    }

    static func randomWord() -> String {
        String(UInt64.random(in: .min ... .max), radix: 16)
    }
}
