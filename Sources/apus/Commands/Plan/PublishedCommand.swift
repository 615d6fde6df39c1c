import ArgumentParser
import Planner

/// `apus plan published`: what papers publish, beside what the planner computes.
struct PublishedCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "published",
        abstract: "Sets published numbers beside what the planner computes for them.")

    @Flag(help: "Print every number's formula and source.")
    var explain = false

    @Flag(help: "Print one JSON array of tables.")
    var json = false

    func run() throws {
        try reporting {
            let tables = PublishedTable.all()
            guard !json else { return try printObject(tables) }
            for table in tables { print(table.text(explained: explain)) }
        }
    }
}
