import Foundation
public import Topology

/// What is written down about a lab before anything is built, so that a later process can remove
/// what a killed one left.
public struct LabState: Codable, Sendable {
    /// The machines and wires.
    public var map: NodeMap
    /// The word its namespaces are marked with.
    public var mark: String
    /// Who built it.
    public var owner: ProcessIdentity
    /// True when the lab is to go with its owner: `apus lab run` built it for one command.
    public var isTemporary: Bool
    /// True once everything is built.
    public var isComplete: Bool

    /// The commands of this lab.
    public var plan: LabPlan { LabPlan(map: map, mark: mark) }

    /// Left by an owner that is gone: free to be removed by anyone.
    var isAbandoned: Bool { (isTemporary || !isComplete) && !owner.isAlive }
}

/// The folder of lab states: one JSON file per lab.
struct LabRecords: Sendable {
    /// Gone after a reboot, as the namespaces are.
    var folder = URL(filePath: "/run/apus/labs")

    private func file(_ name: String) -> URL { folder.appending(path: name + ".json") }

    /// The labs that are written down, in order.
    func names() -> [String] {
        let files =
            (try? FileManager.default.contentsOfDirectory(
                atPath: folder.path(percentEncoded: false))) ?? []
        return files.filter { $0.hasSuffix(".json") }.map { String($0.dropLast(5)) }.sorted()
    }

    /// The state of a lab, or nil if none is written down.
    func read(_ name: String) throws(ClusterError) -> LabState? {
        guard FileManager.default.fileExists(atPath: file(name).path(percentEncoded: false)) else {
            return nil
        }
        do {
            return try JSONDecoder().decode(LabState.self, from: Data(contentsOf: file(name)))
        } catch {
            throw .notOurs(
                "\(file(name).path(percentEncoded: false)) does not describe a lab: \(error)")
        }
    }

    /// Writes down a lab that must not be written down yet.
    func claim(_ state: LabState) throws(ClusterError) {
        do {
            try FileManager.default.createDirectory(
                at: folder, withIntermediateDirectories: true)
            try JSONEncoder().encode(state)
                .write(to: file(state.map.name), options: .withoutOverwriting)
        } catch {
            throw .notOurs("lab \(state.map.name) is being built by another process")
        }
    }

    /// Replaces what is written down.
    func update(_ state: LabState) throws(ClusterError) {
        do {
            try JSONEncoder().encode(state).write(to: file(state.map.name), options: .atomic)
        } catch {
            throw .command(
                "\(file(state.map.name).path(percentEncoded: false)): \(error.localizedDescription)"
            )
        }
    }

    /// Forgets a lab.
    func forget(_ name: String) throws(ClusterError) {
        do {
            try FileManager.default.removeItem(at: file(name))
        } catch {
            throw .command(
                "\(file(name).path(percentEncoded: false)): \(error.localizedDescription)")
        }
    }
}
