import Foundation
import Testing

/// The manifest is the map of the house: it names what a target uses, and nothing else.
@Suite struct ManifestTests {
    let manifest: Manifest

    init() throws { manifest = try Manifest() }

    @Test func `the manifest is read whole`() throws {
        let names = Set(manifest.targets.map(\.name))
        let rooms = Set(HouseFiles.rooms.map(\.lastPathComponent))
        #expect(rooms.isSubset(of: names), "\(rooms.subtracting(names)) stand in no line")
        #expect(manifest.targets.contains { !$0.libraries.isEmpty })
    }

    @Test func `a room imports only rooms that stand above it in the manifest`() {
        var above: Set<String> = []
        for target in manifest.targets where target.folder.hasPrefix("Sources") {
            for room in target.rooms where !above.contains(room) {
                Issue.record("\(target.name) imports \(room), which stands below it")
            }
            above.insert(target.name)
        }
    }

    @Test func `a file of every target imports what its line names`() throws {
        for target in manifest.targets {
            let imported = try Self.imports(in: target.folder)
            // C targets import by including.
            guard !imported.isEmpty else { continue }
            for module in target.rooms + target.libraries where !imported.contains(module) {
                Issue.record("\(target.name) names \(module), which no file of it imports")
            }
        }
    }

    @Test func `every package, module and room is named by a line that uses it`() {
        #expect(manifest.packages.count > 5)
        let used = Set(manifest.libraries.map(\.package))
        #expect(manifest.packages.subtracting(used) == [], "no module is of them")
        #expect(used.subtracting(manifest.packages) == [], "no package line brings them")
        let imported = Set(manifest.targets.flatMap { $0.libraries + $0.rooms })
        for library in manifest.libraries where !imported.contains(library.module) {
            Issue.record("no target imports \(library.module)")
        }
        for room in HouseFiles.rooms.map(\.lastPathComponent) where !imported.contains(room) {
            Issue.record("no target imports the room \(room)")
        }
    }

    private static func imports(in folder: String) throws -> Set<String> {
        var modules: Set<String> = []
        for file in HouseFiles.swift
        where HouseFiles.name(of: file).hasPrefix(folder + "/") {
            for line in try HouseFiles.lines(of: file) {
                let match = line.prefixMatch(of: /(@testable |[a-z]+ )?import (\w+)/)
                if let match { modules.insert(String(match.2)) }
            }
        }
        return modules
    }
}
