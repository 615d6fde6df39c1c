import Foundation

extension Rendering {
    /// A unit whose instances are ranks; rank 0 starts the coordinator.
    ///
    /// The secret is a credential of systemd, which the unit's own processes alone read.
    func systemd() throws(ClusterError) -> String {
        guard job.hosts.isEmpty else {
            throw .badInput(
                "\(file): hosts: units are for one machine; take the key out, and enable on every"
                    + " machine the ranks that run there")
        }
        guard !job.control.isPath, !job.control.isUnspecified else {
            throw .badInput(
                "\(file): control \(job.control.text) is no address that a rank goes to: name the"
                    + " one of rank 0's machine")
        }
        // Paths inside a job file are relative to it, so that it stays where it is.
        let path = URL(filePath: file).standardizedFileURL.path(percentEncoded: false)
        let token = "/etc/apus/\(job.name).token"
        let programs = options.programs.isEmpty ? "/usr/bin" : options.programs
        let unit = "apus-\(job.name)@"
        let port = job.control.port == 0 ? RankPlace.defaultPort : job.control.port
        return """
            # \(job.name): \(job.ranks) ranks. Rank 0 starts the coordinator at \
            \(job.control.address), port \(port).
            #
            #   install -d /etc/apus
            #   openssl rand -hex 32 | install -m 600 /dev/stdin \(token)
            #   install -m 644 THIS /etc/systemd/system/\(unit).service
            #   systemctl daemon-reload
            #   systemctl enable --now \(unit){0..\(job.ranks - 1)}.service
            #
            # The unit's own user must be able to read the job file and what it names. Ranks may be
            # enabled on several machines, with the same files on each.
            [Unit]
            Description=Apus job \(job.name), rank %i
            After=network-online.target
            Wants=network-online.target

            [Service]
            ExecStart=\(Self.unitWord("\(programs)/apus-worker")) \(Self.unitWord(path))
            Environment=RANK=%i WORLD_SIZE=\(job.ranks)
            Environment=\(Self.unitWord("MASTER_ADDR=\(job.control.address)")) MASTER_PORT=\(port)
            LoadCredential=token:\(token)
            Environment=APUS_TOKEN_FILE=%d/token
            StateDirectory=apus/\(job.name)
            Environment=APUS_JOBS=%S/apus/\(job.name)
            DynamicUser=yes
            # A lost rank ends the job everywhere, and all of it starts again.
            Restart=on-failure
            RestartSec=5
            RestartPreventExitStatus=2
            # Longer than requests under way are given.
            TimeoutStopSec=\(Int(job.deadlines.drainSeconds.rounded(.up)) + 10)
            LimitMEMLOCK=infinity
            NoNewPrivileges=yes
            ProtectSystem=strict
            ProtectHome=read-only

            [Install]
            WantedBy=multi-user.target

            """
    }

    /// A word as systemd reads it back: a percent sign begins one of its own words.
    private static func unitWord(_ word: String) -> String {
        let plain = word.replacing("%", with: "%%")
        return shellWord(plain) == plain ? plain : quoted(plain)
    }
}
