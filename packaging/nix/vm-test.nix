# SPDX-License-Identifier: MIT
#
# On NixOS, as a user there has it, and under systemd's restrictions.
{
  name = "afork";

  nodes.machine =
    { pkgs, ... }:
    {
      environment.systemPackages = [ pkgs.afork ];
      # Confined, and without anything of the user's environment.
      systemd.services.sums = {
        serviceConfig = {
          Type = "oneshot";
          DynamicUser = true;
          NoNewPrivileges = true;
          PrivateNetwork = true;
          ProtectSystem = "strict";
          StandardInput = "file:/etc/os-release";
          StandardOutput = "file:/run/sums";
        };
        script = ''
          exec ${pkgs.afork}/bin/afork-run -MDigest::SHA -e 'Digest::SHA::sha1_hex($_)'
        '';
      };
    };

  testScript = ''
    machine.wait_for_unit("multi-user.target")
    assert machine.succeed("echo 2.5 | afork-run -MPOSIX -e 'POSIX::floor($_)'") == "2\n"
    machine.succeed("systemctl start sums.service")
    lines = machine.succeed("wc -l </etc/os-release")
    assert machine.succeed("grep -cx '[0-9a-f]\\{40\\}' /run/sums") == lines
    # What limits need of the kernel is there.
    machine.succeed("echo 1 | afork-run --no-network -e '$_'")
    machine.fail("pgrep afork-perl")
  '';
}
