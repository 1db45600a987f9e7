imports.gi.versions.Afork = '1.0';
const {Afork, Gio, GLib} = imports.gi;
Gio._promisify(Afork.Rpc.prototype, 'call_strv_async', 'call_strv_finish');

const loop = GLib.MainLoop.new(null, false);
const worker = Afork.Process.new(null);
worker.require(['Digest::SHA']);
const rpc = Afork.Rpc.new(worker, 'Digest::SHA::sha1_hex', null);
rpc.call_strv_async(['hello'], null, null).then(print, logError).finally(() => loop.quit());
loop.run();
