import Foundation
import Topology
import Yams

extension TrainingJob {
    /// Reads a job file, makes its paths absolute, and checks everything that can be known before
    /// any work.
    ///
    /// - Parameter warn: Gets one line where the file has keys that are read for one version more.
    public static func load(
        path: String, warn: (String) -> Void = { _ in }
    ) throws -> TrainingJob {
        let text: String
        do throws(InputError) {
            text = try InputFile.text(of: path)
        } catch {
            throw TrainingError.job(path, fact: "cannot be read: \(error)")
        }
        var job = try parse(text, path: path, warn: warn)
        let file = URL(filePath: path)
        let folder = file.deletingLastPathComponent()
        func resolve(_ file: String) -> String {
            URL(filePath: file, relativeTo: folder).path(percentEncoded: false)
        }
        job.model = resolve(job.model)
        job.tokenizer = resolve(job.tokenizer)
        job.train = job.train.map(resolve)
        job.validation = job.validation.map(resolve)
        job.output =
            job.output.isEmpty
            ? OutputFolder.path(ofRun: file.deletingPathExtension().lastPathComponent)
            : resolve(job.output)
        job.startFrom = job.startFrom.map(resolve)
        if var teacher = job.teacher {
            teacher.prompts = teacher.prompts.map(resolve)
            job.teacher = teacher
        }
        try job.validate()
        return job
    }

    /// Reads the text of a job file; `path` is only for messages.
    private static func parse(
        _ text: String, path: String, warn: (String) -> Void
    ) throws -> TrainingJob {
        var written = Node.Mapping([])
        do {
            written = try InputFile.compose(text)?.mapping ?? written
            guard !written.isEmpty else {
                throw TrainingError.job(path, fact: "holds no keys of a training job")
            }
            var renamed: [String] = []
            var values = try complete(written, path: path, renamed: &renamed)
            if let teacher = values["teacher"]?.mapping {
                values["teacher"] = .mapping(
                    try Teacher.complete(
                        teacher, path: path, prefix: "teacher.", renamed: &renamed))
            }
            if !renamed.isEmpty {
                warn(
                    "\(path): keys are in camelCase now: \(renamed.joined(separator: ", ")); "
                        + "the next version refuses the old names")
            }
            return try YAMLDecoder().decode(TrainingJob.self, from: .mapping(values))
        } catch let error as TrainingError {
            throw error
        } catch let error as DecodingError {
            throw Self.worded(error, written, path: path)
        } catch {
            let words = "\(error)".split(separator: "\n").first ?? "unreadable"
            throw TrainingError.job("\(path):", fact: String(words))
        }
    }
}
