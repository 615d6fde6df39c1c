import Foundation

/// The targets of `Package.swift`, as its text declares them: in order, with what each imports.
struct Manifest {
    /// One target and the modules that its line names.
    struct Target {
        /// Its name, as imports write it.
        let name: String
        /// The folder of its files, below the root.
        let folder: String
        /// Modules of this package that it may import.
        let rooms: [String]
        /// Modules from outside that it may import.
        let libraries: [String]
    }

    let targets: [Target]
    /// Packages from outside, by the last part of their addresses.
    let packages: Set<String>
    /// Modules that the manifest names once for its targets, and the packages they are of.
    let libraries: [(module: String, package: String)]

    /// Reads the manifest of this repository.
    init() throws {
        let text = try String(
            contentsOf: HouseFiles.root.appending(path: "Package.swift"), encoding: .utf8)
        let products = Dictionary(
            uniqueKeysWithValues: text.matches(
                of: /var (\w+): Target\.Dependency \{\s+library\("(\w+)"/
            ).map { (String($0.1), String($0.2)) })
        packages = Set(
            text.matches(of: /\.package\(\s*url: "[^"]*\/([\w.-]+)"/).map { String($0.1) })
        libraries = text.matches(of: /library\("(\w+)", of: "([\w.-]+)"\)/)
            .map { (String($0.1), String($0.2)) }
        let body = text.prefix(upTo: text.firstRange(of: "// Libraries from outside")!.lowerBound)
        let line = /\b(room|program|tests|fuzzer|target|testTarget)\(\s*(?:name: )?"([\w-]+)"/
        let starts = body.matches(of: line)
        targets = starts.indices.map { index in
            let start = starts[index]
            let end =
                index + 1 < starts.count ? starts[index + 1].range.lowerBound : body.endIndex
            let rest = Self.withoutOptions(body[start.range.upperBound ..< end])
            let (kind, name) = (String(start.1), String(start.2))
            var rooms = rest.matches(of: /"([\w-]+)"/).map { String($0.1) }
            let libraries = rest.matches(of: /\b[a-z]\w+\b/).compactMap { products[String($0.0)] }
            if kind == "tests" { rooms.append(name) }
            let folder =
                switch kind {
                case "tests": "Tests/\(name)Tests"
                case "fuzzer": "Tests/Fuzz/\(name)"
                case "room", "program": "Sources/\(name)"
                default:
                    Self.path(
                        of: name, in: body[start.range.upperBound ..< end],
                        below: kind == "testTarget" ? "Tests" : "Sources")
                }
            return Target(
                name: name + (["tests": "Tests", "fuzzer": "Fuzz"][kind] ?? ""), folder: folder,
                rooms: rooms,
                libraries: libraries)
        }
    }

    /// The text of a target's dependencies: the words of its other arguments are no modules.
    private static func withoutOptions(_ text: Substring) -> String {
        var text = String(text)
        for option in [/(exclude|sources): \[[^\]]*\]/, /(path|resources): \[?[^\n]*/] {
            text = text.replacing(option, with: "")
        }
        text = text.replacing(/cSettings:[\s\S]*/, with: "")
        return text.replacing(/\/\/[^\n]*/, with: "")
    }

    private static func path(
        of name: String, in text: Substring, below folder: String
    ) -> String {
        text.firstMatch(of: /path: "([^"]+)"/).map { String($0.1) } ?? "\(folder)/\(name)"
    }
}
