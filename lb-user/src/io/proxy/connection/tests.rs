use super::*;

#[test]
fn an_open_connection_is_small() {
    let served = Served {
        tables: crate::core::proxy::Tables::new(
            Arc::new(Table {
                scheduler: crate::model::SchedulerKind::RoundRobin,
                slots: Vec::new(),
                backends: Vec::new(),
            }),
            &[],
        ),
        backends: Vec::new(),
        terms: super::super::tests::terms(),
        account: Arc::default(),
        turns: Default::default(),
        sessions: Arc::default(),
    };
    let served = Arc::new(served);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let bytes = runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = listener.local_addr().expect("its address");
        let connect = async || tokio::net::TcpStream::connect(at).await.expect("a connection");
        let place = Place::take((&served.account, 0), (&Arc::default(), 0)).expect("a place");
        let (first, unsent, to_backend) = (Vec::new(), Vec::new(), Vec::new());
        let backend = Reached { stream: connect().await, session: None, first, unsent };
        let account = served.account.clone();
        let any = SocketAddr::from(([127, 0, 0, 1], 1));
        let ends = Ends { client: any, vip: any };
        let opened =
            Opened { ends, client: None, backend, to_backend, early_bytes: 0, served: served.clone(), place };
        let listed = (OpenConnections::new(), None);
        let exchange = exchange(connect().await, opened, Pipes { are_used: true }, (account, listed, None));
        std::mem::size_of_val(&exchange)
    });
    assert!(bytes <= 600, "{bytes} bytes for each connection");
}
