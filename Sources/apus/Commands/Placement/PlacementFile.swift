import Cluster
import Encoding
import Foundation
import Topology

/// Loads and placements of a job, kept for later: `apus placement show --save`.
struct PlacementFile: Codable {
    /// What the file is; another value is refused.
    private static let format = "apus-placement-1"
    /// Far above the report of the largest model.
    private static let mostBytes = 64 << 20

    private var format: String
    let report: PlacementReport

    init(_ report: PlacementReport) {
        format = Self.format
        self.report = report
    }

    /// Writes it, in place of what was there.
    ///
    /// - Throws: `ClusterError.badInput` where the file cannot be written.
    func write(to path: String) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        do {
            try encoder.encode(self).write(to: URL(filePath: path), options: .atomic)
        } catch {
            throw ClusterError.badInput("\(path): \(error.localizedDescription)")
        }
    }

    /// Reads a file that anybody may have written.
    ///
    /// - Throws: `ClusterError.badInput` with what is wrong.
    static func read(_ path: String) throws -> PlacementFile {
        let bytes = try WholeFile.read(path, limit: mostBytes) {
            ClusterError.badInput("\(path): \($0)")
        }
        let file: PlacementFile
        do {
            file = try JSONDecoder().decode(PlacementFile.self, from: bytes)
        } catch {
            throw ClusterError.badInput("\(path): is no file of apus placement --save: \(error)")
        }
        guard file.format == format else {
            throw ClusterError.badInput(
                "\(path): format \(file.format.prefix(64)) is not \(format)")
        }
        if let fault = file.report.groups.lazy.compactMap(Self.fault).first {
            throw ClusterError.badInput("\(path): \(fault)")
        }
        return file
    }

    /// Why a group is none of a job; tables by rank are made only of one that is.
    private static func fault(of group: PlacementReport.Group) -> String? {
        let name = group.name.prefix(64)
        let count = group.ranks.count
        guard count <= Rank.maximumCount else {
            return "group \(name) has \(count) ranks: the most are \(Rank.maximumCount)"
        }
        guard group.slots.count == count else {
            return "group \(name) has slots for \(group.slots.count) ranks, and \(count) ranks"
        }
        if let layer = group.placements.firstIndex(where: { $0.rankCount != count }) {
            return "group \(name) has \(group.placements[layer].rankCount) ranks in layer"
                + " \(layer), and \(count) ranks"
        }
        return nil
    }

    /// A group as it is, with the loads that the group of this name had.
    ///
    /// - Throws: `ClusterError.badInput` where the file has no such group.
    func loads(for group: PlacementReport.Group) throws -> PlacementReport.Group {
        guard let old = report.groups.first(where: { $0.name == group.name }) else {
            let names = report.groups.map(\.name).joined(separator: ", ")
            throw ClusterError.badInput("the file has loads of \(names), not of \(group.name)")
        }
        var group = group
        group.loads = old.loads
        return group
    }
}
