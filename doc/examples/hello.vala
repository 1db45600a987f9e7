async void hello () {
    try {
        var worker = new Afork.Process (null);
        worker.require ({"Digest::SHA"});
        var rpc = new Afork.Rpc (worker, "Digest::SHA::sha1_hex", null);
        print ("%s\n", (yield rpc.call_strv_async ({"hello"}, null, null))[0]);
    } catch (Error error) {
        printerr ("%s\n", error.message);
    }
}

void main () {
    var loop = new MainLoop ();
    hello.begin (() => loop.quit ());
    loop.run ();
}
